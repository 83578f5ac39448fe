/*
 * title: to be dumped is no end for the owner of a robust mutex in a file; its end afterwards is
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/futex.h>

static struct {
	pthread_mutex_t mutex;
	uint32_t ready, told;
	int passed;
} *common;

static void owner(void)
{
	PTHREAD(pthread_mutex_lock(&common->mutex));
	test_post(&common->ready);
	test_await(&common->told, 1);
	/* The kernel writes into the word when a task ends that is in possession: the file outlives a dump.
	 */
	CHECK((uint32_t)common->mutex.__data.__lock == ((uint32_t)gettid() | FUTEX_WAITERS),
	      "the word is %#x", common->mutex.__data.__lock);
	_exit(0);
}

static void waiter(void)
{
	int result;

	test_post(&common->ready);
	result = pthread_mutex_lock(&common->mutex);
	CHECK(result == EOWNERDEAD, "the waiter got: %s", strerror(result));
	PTHREAD(pthread_mutex_consistent(&common->mutex));
	common->passed++;
	PTHREAD(pthread_mutex_unlock(&common->mutex));
	_exit(0);
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t robust;
	pid_t owning, waiting;

	test_init(argc, argv);
	common = test_shared(sizeof(*common));
	PTHREAD(pthread_mutexattr_init(&robust));
	PTHREAD(pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST));
	PTHREAD(pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED));
	PTHREAD(pthread_mutex_init(&common->mutex, &robust));
	owning = SYS(fork());
	if (!owning)
		owner();
	test_await(&common->ready, 1);
	waiting = SYS(fork());
	if (!waiting)
		waiter();
	test_await(&common->ready, 2);
	while (!(__atomic_load_n(&common->mutex.__data.__lock, __ATOMIC_SEQ_CST) & (int)FUTEX_WAITERS))
		sched_yield();
	test_daemon();
	test_waitsig();
	CHECK(!common->passed, "the waiter has passed the locked mutex");
	test_post(&common->told);
	test_reap(owning);
	test_reap(waiting);
	CHECK(common->passed == 1, "the waiter has not passed");
	pass();
}
