/*
 * title: POSIX timers tell the very thread they were made for, and start glibc's threads
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "timers.h"

#include <pthread.h>

enum { THREADS = 3 };

static uint32_t made, asked, told, started;
static int ids[THREADS];
static char values[THREADS], thread_value;

static void *thread(void *arg)
{
	long number = (long)arg;
	siginfo_t info;

	timer_block(SIGRTMIN);
	ids[number] = timer_make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN, values + number);
	timer_start(ids[number], 3600 * S, 0);
	timer_block(SIGTERM); /* the main thread waits for it */
	test_post(&made);
	test_await(&asked, 1);
	/* Started by another thread; whoever's it is not would wait for ever. */
	while (!timer_dequeue(SIGRTMIN, S, &info))
		;
	timer_check_info(&info, ids[number], values + number);
	test_post(&told);
	return NULL;
}

static void on_expiry(union sigval value)
{
	CHECK(value.sival_ptr == &thread_value, "the value is %p", value.sival_ptr);
	test_post(&started);
}

int main(int argc, char **argv)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD,
		.sigev_notify_function = on_expiry,
		.sigev_value.sival_ptr = &thread_value,
	};
	struct itimerspec spec = {.it_value = timer_spec(3600 * S)};
	pthread_t threads[THREADS];
	char *listed, *now;
	timer_t timer;

	test_init(argc, argv);
	timer_block(SIGRTMIN);
	for (long i = 0; i < THREADS; i++) {
		CHECK(!pthread_create(threads + i, NULL, thread, (void *)i), "no thread");
		test_await(&made, i + 1);
	}
	SYS(timer_create(CLOCK_REALTIME, &event, &timer));
	SYS(timer_settime(timer, 0, &spec, NULL));
	listed = test_read_file("/proc/self/timers", NULL);
	test_daemon();
	test_waitsig();
	now = test_read_file("/proc/self/timers", NULL);
	CHECK(!strcmp(now, listed), "there were %s, there are %s", listed, now);
	for (int i = 0; i < THREADS; i++) {
		CHECK(timer_left(ids[i]) > 3000 * S, "timer %d: %lld ns are left", i, timer_left(ids[i]));
		timer_start(ids[i], 1, 0);
	}
	test_post(&asked);
	test_await(&told, THREADS);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL), "no end of a thread");
	spec.it_value = timer_spec(1);
	SYS(timer_settime(timer, 0, &spec, NULL));
	test_await(&started, 1);
	pass();
}
