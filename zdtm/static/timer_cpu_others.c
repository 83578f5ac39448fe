/*
 * title: a POSIX timer stays on the CPU clock of another thread, and of another process
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "timers.h"

#include <pthread.h>

enum { BURN_MS = 200 };

static const long long left_ns = 4000 * S;

struct shared {
	uint32_t made, burn, burnt, end;
	int passed_ms, idle_ms;
};

/* Has a timer on the clock of its parent's process, and says what has passed on it. */
static _Noreturn void child(struct shared *shared, clockid_t parents)
{
	int timer = timer_make(parents, SIGEV_SIGNAL, SIGUSR1, NULL);
	long long left;

	timer_start(timer, left_ns, 0);
	test_post(&shared->made);
	test_await(&shared->burn, 1);
	left = timer_left(timer);
	shared->idle_ms = (int)((left_ns - left) / MS);
	burn(BURN_MS * MS); /* which is its own */
	test_post(&shared->burnt);
	test_await(&shared->end, 1);
	shared->passed_ms = (int)((left - timer_left(timer)) / MS);
	_exit(0);
}

static void *thread(void *arg)
{
	struct shared *shared = arg;

	timer_block(SIGTERM); /* the main thread waits for it */
	test_post(&shared->made);
	test_await(&shared->burnt, 1);
	burn(BURN_MS * MS); /* of the whole process, and nobody else in it works */
	test_post(&shared->burnt);
	return NULL;
}

int main(int argc, char **argv)
{
	struct shared *shared;
	clockid_t clock;
	pthread_t other;
	long long passed;
	int timer;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	CHECK(!clock_getcpuclockid(getpid(), &clock), "no clock of the process");
	pid = SYS(fork());
	if (!pid)
		child(shared, clock);
	CHECK(!pthread_create(&other, NULL, thread, shared), "no thread");
	CHECK(!pthread_getcpuclockid(other, &clock), "no clock of the thread");
	timer = timer_make(clock, SIGEV_SIGNAL, SIGUSR1, NULL);
	timer_start(timer, left_ns, 0);
	test_await(&shared->made, 2);
	test_daemon();
	test_waitsig();
	passed = left_ns - timer_left(timer);
	CHECK(passed >= -20 * MS && passed < 100 * MS, "%lld ns of the thread passed without work", passed);
	test_post(&shared->burn);
	test_await(&shared->burnt, 2);
	passed = left_ns - timer_left(timer);
	CHECK(passed >= BURN_MS * MS * 9 / 10, "%lld ns of the thread passed", passed);
	CHECK(!pthread_join(other, NULL), "no end of the thread");
	test_post(&shared->end);
	test_reap(pid);
	CHECK(shared->idle_ms >= -20 && shared->idle_ms < 150, "%d ms of the parent passed without work",
	      shared->idle_ms);
	CHECK(shared->passed_ms >= BURN_MS * 9 / 10, "%d ms of the parent passed", shared->passed_ms);
	pass();
}
