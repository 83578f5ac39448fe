/* For tests of children that another thread than the first one has made: a thread that forks and reaps when
 * told. */
#ifndef THREAD_KIDS_H
#define THREAD_KIDS_H

#include <pthread.h>

#include "tree.h"

static struct thread_kids {
	pthread_t thread;
	pid_t tid;
	uint32_t told, done;
	void (*what)(int argument);
	int argument;
} thread_kids;

static void *thread_kids_obey(void *unused)
{
	struct thread_kids *t = &thread_kids;

	(void)unused;
	t->tid = (pid_t)syscall(SYS_gettid);
	for (uint32_t step = 1;; step++) {
		test_await(&t->told, step);
		if (!t->what)
			break;
		t->what(t->argument);
		test_post(&t->done);
	}
	return NULL;
}

static inline void thread_kids_start(void)
{
	CHECK(!pthread_create(&thread_kids.thread, NULL, thread_kids_obey, NULL), "pthread_create");
}

/* Have the thread do something, and wait until it has; NULL: end. */
static inline void thread_kids_step(void (*what)(int argument), int argument)
{
	thread_kids.what = what;
	thread_kids.argument = argument;
	test_post(&thread_kids.told);
	if (what)
		test_await(&thread_kids.done, thread_kids.told);
	else
		CHECK(!pthread_join(thread_kids.thread, NULL), "pthread_join");
}

static void thread_kids_fork(int child)
{
	tree_task_clones(&tree[0], child);
}

#endif
