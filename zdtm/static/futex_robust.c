/*
 * title: the owner of a robust mutex ends after the restore, and the waiter hears of it
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/futex.h>

static pthread_mutex_t mutex;
static uint32_t ready, told;
static pid_t tids[2];
static int passed;

/* Locks it and ends, without a word, when told to. */
static void *owner(void *argument)
{
	tids[0] = gettid();
	PTHREAD(pthread_mutex_lock(&mutex));
	test_post(&ready);
	test_await(&told, 1);
	CHECK(((uint32_t)mutex.__data.__lock & FUTEX_TID_MASK) == (uint32_t)tids[0], "the word is %#x",
	      mutex.__data.__lock);
	return argument;
}

static void *waiter(void *argument)
{
	int result;

	tids[1] = gettid();
	test_post(&ready);
	result = pthread_mutex_lock(&mutex);
	CHECK(result == EOWNERDEAD, "the waiter got: %s", strerror(result));
	CHECK(((uint32_t)mutex.__data.__lock & FUTEX_TID_MASK) == (uint32_t)tids[1], "the word is %#x",
	      mutex.__data.__lock);
	PTHREAD(pthread_mutex_consistent(&mutex));
	passed++;
	PTHREAD(pthread_mutex_unlock(&mutex));
	PTHREAD(pthread_mutex_lock(&mutex));
	PTHREAD(pthread_mutex_unlock(&mutex));
	return argument;
}

static void check_waiting(void)
{
	thread_sleeps_in(tids[1], SYS_futex);
	CHECK(!passed, "it has passed the locked mutex");
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t robust;
	pthread_t threads[2];

	test_init(argc, argv);
	PTHREAD(pthread_mutexattr_init(&robust));
	PTHREAD(pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST));
	PTHREAD(pthread_mutex_init(&mutex, &robust));
	threads[0] = thread_start(owner, NULL);
	test_await(&ready, 1);
	threads[1] = thread_start(waiter, NULL);
	test_await(&ready, 2);
	check_waiting();
	test_daemon();
	test_waitsig();
	check_waiting();
	test_post(&told);
	for (int i = 0; i < 2; i++)
		thread_join(threads[i]);
	CHECK(passed == 1, "it has not passed");
	pass();
}
