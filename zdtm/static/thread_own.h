/* A thread that has something of its own which threads of a process have in common: unshare(2). */
#ifndef THREAD_OWN_H
#define THREAD_OWN_H

#include <linux/kcmp.h>

#include "threads.h"

static uint32_t own_ready, own_told;
static int own_flag; /* of clone(2): what is its own */
static pid_t own_tid;

static void *own_thread(void *argument)
{
	SYS(unshare(own_flag));
	own_tid = gettid();
	test_post(&own_ready);
	test_await(&own_told, 1);
	return argument;
}

/* The whole of a case; `kind` is kcmp(2)'s. */
static _Noreturn void own_run(int flag, int kind)
{
	pthread_t other;

	own_flag = flag;
	other = thread_start(own_thread, NULL);
	test_await(&own_ready, 1);
	CHECK(SYS(syscall(SYS_kcmp, getpid(), own_tid, kind, 0, 0)), "the thread has the leader's still");
	test_daemon();
	test_waitsig();
	CHECK(SYS(syscall(SYS_kcmp, getpid(), own_tid, kind, 0, 0)), "the thread has the leader's again");
	test_post(&own_told);
	thread_join(other);
	pass();
}

#endif
