/*
 * title: a priority-inheriting mutex that two threads wait for goes from its owner to each of them
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "threads.h"

#include <linux/futex.h>
#include <sys/resource.h>

enum { WAITERS = 2 };

static pthread_mutex_t mutex;
static uint32_t *const word = (uint32_t *)&mutex.__data.__lock;
static uint32_t ready, told, passed;
static pid_t owner_tid, tids[WAITERS];

static void *owner(void *argument)
{
	(void)argument;
	owner_tid = gettid();
	/* A lower priority than the waiters': it is lent theirs, and the harness sees that it still is. */
	SYS(setpriority(PRIO_PROCESS, (id_t)owner_tid, 10));
	PTHREAD(pthread_mutex_lock(&mutex));
	test_post(&ready);
	test_await(&told, 1);
	CHECK(*word == ((uint32_t)owner_tid | FUTEX_WAITERS), "the word is %#x with owner %d", *word,
	      owner_tid);
	CHECK(pthread_mutex_trylock(&mutex) == EBUSY, "the owner can lock it once more");
	PTHREAD(pthread_mutex_unlock(&mutex));
	return NULL;
}

static void *waiter(void *argument)
{
	int i = (int)(intptr_t)argument;

	tids[i] = gettid();
	test_post(&ready);
	PTHREAD(pthread_mutex_lock(&mutex));
	CHECK((*word & FUTEX_TID_MASK) == (uint32_t)gettid(), "the word is %#x, in thread %d", *word,
	      gettid());
	test_post(&passed);
	sched_yield();
	CHECK((*word & FUTEX_TID_MASK) == (uint32_t)gettid(), "the word is %#x, in thread %d", *word,
	      gettid());
	PTHREAD(pthread_mutex_unlock(&mutex));
	return NULL;
}

static void check_waiting(void)
{
	for (int i = 0; i < WAITERS; i++)
		thread_sleeps_in(tids[i], SYS_futex);
	CHECK(!passed, "%u threads have passed the locked mutex", passed);
}

/* As the scheduler sees it: field 18 of stat. */
static int priority_of(pid_t tid)
{
	char text[512], *at;

	thread_file(tid, "stat", text, sizeof(text));
	at = strrchr(text, ')');
	CHECK(at, "thread %d is gone", tid);
	for (int field = 2; field < 18; field++)
		at = strchr(at + 1, ' ');
	return atoi(at);
}

int main(int argc, char **argv)
{
	pthread_t owning, waiting[WAITERS];
	pthread_mutexattr_t inherit;
	int lent;

	test_init(argc, argv);
	PTHREAD(pthread_mutexattr_init(&inherit));
	PTHREAD(pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT));
	PTHREAD(pthread_mutex_init(&mutex, &inherit));
	owning = thread_start(owner, NULL);
	test_await(&ready, 1);
	for (intptr_t i = 0; i < WAITERS; i++)
		waiting[i] = thread_start(waiter, (void *)i);
	test_await(&ready, 1 + WAITERS);
	/* Until both have said in the word that they wait. */
	while (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & FUTEX_WAITERS))
		sched_yield();
	check_waiting();
	lent = priority_of(owner_tid);
	test_daemon();
	test_waitsig();
	check_waiting();
	CHECK(priority_of(owner_tid) == lent, "the owner's priority is %d, not %d", priority_of(owner_tid),
	      lent);
	test_post(&told);
	thread_join(owning);
	for (int i = 0; i < WAITERS; i++)
		thread_join(waiting[i]);
	CHECK(passed == WAITERS && !*word, "%u threads have passed, the word is %#x", passed, *word);
	pass();
}
