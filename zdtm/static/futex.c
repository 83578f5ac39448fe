/*
 * title: ten threads wait for a mutex: none passes before it is unlocked, then all do, one at a time
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

enum { THREADS = 10 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t tids[THREADS], inside;
static uint32_t ready;
static int passed;

static void *thread(void *argument)
{
	tids[(intptr_t)argument] = gettid();
	test_post(&ready);
	PTHREAD(pthread_mutex_lock(&mutex));
	CHECK(!inside, "thread %d is inside already", inside);
	inside = gettid();
	passed++;
	sched_yield();
	CHECK(inside == gettid(), "thread %d came inside", inside);
	inside = 0;
	PTHREAD(pthread_mutex_unlock(&mutex));
	return NULL;
}

static void check_all_wait(void)
{
	for (int i = 0; i < THREADS; i++)
		thread_sleeps_in(tids[i], SYS_futex);
	CHECK(!passed, "%d threads have passed the locked mutex", passed);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	PTHREAD(pthread_mutex_lock(&mutex));
	for (intptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)i);
	test_await(&ready, THREADS);
	check_all_wait();
	test_daemon();
	test_waitsig();
	check_all_wait();
	PTHREAD(pthread_mutex_unlock(&mutex));
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	CHECK(passed == THREADS, "%d of %d threads have passed", passed, THREADS);
	PTHREAD(pthread_mutex_trylock(&mutex));
	pass();
}
