/* Six tasks, each with thread-local bytes of its own: threads, threads of threads, and forks of threads. */
#ifndef ZDTM_TLS_TASKS_H
#define ZDTM_TLS_TASKS_H

#include "threads.h"

enum { TASKS = 6 };

static __thread unsigned char local[4096];
static __thread uint32_t mine = 4711; /* of the initialised part */

/* In every process: who is ready, who is told to check, who has done so. */
static struct {
	uint32_t ready, told, checked;
} *common;

static void be(uint32_t number)
{
	CHECK(mine == 4711 || number > 3, "task %u starts with another's bytes", number);
	mine = number;
	test_fill(local, sizeof(local), number);
	test_post(&common->ready);
}

/* Nobody ends before all have looked: what one has of another would be gone. */
static void check(uint32_t number)
{
	long at = test_differs(local, sizeof(local), number);

	CHECK(mine == number, "task %u has the initialised byte of %u", number, mine);
	CHECK(at < 0, "byte %ld of task %u differs", at, number);
	test_post(&common->checked);
	test_await(&common->checked, TASKS);
}

static void *last_thread(void *argument)
{
	(void)argument;
	be(6);
	test_await(&common->told, 1);
	check(6);
	return NULL;
}

static void *inner_thread(void *argument)
{
	(void)argument;
	be(3);
	test_await(&common->told, 1);
	check(3);
	return NULL;
}

static pid_t fork_task(uint32_t number)
{
	pthread_t self = pthread_self(), thread = 0;
	pid_t child = SYS(fork());

	if (child)
		return child;
	be(number);
	if (number == 5)
		thread = thread_start(last_thread, NULL);
	test_await(&common->told, 1);
	check(number);
	CHECK(pthread_self() == self && gettid() == getpid(), "task %u is another thread", number);
	if (thread)
		thread_join(thread);
	_exit(0);
}

static void *outer_thread(void *argument)
{
	pthread_t self = pthread_self(), inner;
	pid_t tid = gettid(), child;

	(void)argument;
	be(2);
	inner = thread_start(inner_thread, NULL);
	child = fork_task(5);
	test_await(&common->told, 1);
	check(2);
	CHECK(pthread_self() == self && gettid() == tid, "the thread is another one");
	thread_join(inner);
	test_reap(child);
	return NULL;
}

static void tls_tasks(void)
{
	pthread_t outer;
	pid_t child;

	common = test_shared(sizeof(*common));
	be(1);
	child = fork_task(4);
	outer = thread_start(outer_thread, NULL);
	test_await(&common->ready, TASKS);
	test_daemon();
	test_waitsig();
	test_post(&common->told);
	check(1);
	thread_join(outer);
	test_reap(child);
	pass();
}

#endif
