/*
 * For tests of children of which one follows another with the same pid, and with memory of its own.
 *
 * Whoever takes what changed since an earlier look at that pid for the same task's mixes their memories up.
 */
#ifndef PID_REUSE_H
#define PID_REUSE_H

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "memory.h"

enum { PID_REUSE_PAGES = 32 };

struct pid_reuse {
	uint32_t ready, go;
};

/* A child with this pid, or any for 0; the result is fork's. Whoever else has taken the pid may keep it. */
static inline pid_t pid_reuse_fork(pid_t pid)
{
	struct clone_args args = {.exit_signal = SIGCHLD}, again = args;
	pid_t child = -1;

	again.set_tid = (uintptr_t)&pid;
	again.set_tid_size = 1;
	if (pid)
		child = (pid_t)syscall(SYS_clone3, &again, sizeof(again));
	if (!pid || (child == -1 && errno == EEXIST))
		child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	return SYS(child);
}

/* Half of its memory is the same in all: a page that did not change is nothing that a dump has to look at. */
static inline _Noreturn void pid_reuse_child(struct pid_reuse *words, unsigned char *memory, uint32_t number)
{
	const size_t half = PID_REUSE_PAGES / 2;

	pages_fill(memory + half * PAGE, half, number * PID_REUSE_PAGES);
	test_post(&words->ready);
	test_await(&words->go, number + 1);
	pages_check(memory, half, 1, "what all children have");
	pages_check(memory + half * PAGE, half, number * PID_REUSE_PAGES, "what the last child has");
	_exit(0);
}

/* SIGTERM may come meanwhile. */
static inline void pid_reuse_end(struct pid_reuse *words, pid_t child)
{
	int status;

	test_post(&words->go);
	while (waitpid(child, &status, 0) == -1)
		CHECK(errno == EINTR, "waitpid: %m");
	CHECK(!status, "child %d ended with wait status %#x", child, status);
}

static inline _Noreturn void pid_reuse_run(void)
{
	unsigned char *memory = map_anonymous(PID_REUSE_PAGES * PAGE, MAP_PRIVATE);
	struct pid_reuse *words = test_shared(sizeof(*words));
	uint32_t number = 0, same = 0;
	pid_t child = 0, before;

	pages_fill(memory, PID_REUSE_PAGES, 1);
	for (;;) {
		before = child;
		child = pid_reuse_fork(before);
		if (!child)
			pid_reuse_child(words, memory, number);
		same += child == before;
		test_await(&words->ready, ++number);
		if (number == 1)
			test_daemon();
		if (!test_go() && number > 2)
			break;
		pid_reuse_end(words, child);
	}
	pid_reuse_end(words, child);
	CHECK(same, "no pid was used again");
	pass();
}

#endif
