/*
 * title: filters that were set before fork bind the child, and the child's child
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 */
#include "filter.h"

#include <signal.h>

struct shared {
	uint32_t ready, go;
};

/* In a process with the filters of both generations: mode, count, and death of the call that is denied. */
static _Noreturn void check(const char *who, long filters, int denied)
{
	pid_t pid;

	filter_expect_mode(SECCOMP_MODE_FILTER, filters);
	filter_expect(SYS_getpgrp, ENOTTY);
	filter_expect(SYS_getuid, denied);
	pid = SYS(fork());
	if (!pid) {
		filter_expect_mode(SECCOMP_MODE_FILTER, filters);
		syscall(SYS_ptrace, 0, 0, 0, 0);
		fail("the child of the %s may use ptrace", who);
	}
	filter_reap_killed(pid, SIGSYS);
	_exit(0);
}

static _Noreturn void parent(struct shared *shared)
{
	pid_t pid;

	filter_add(SYS_ptrace, SECCOMP_RET_KILL, 0);
	filter_add(SYS_getpgrp, FILTER_ERRNO(ENOTTY), 0);
	pid = SYS(fork());
	if (!pid) {
		filter_add(SYS_getuid, FILTER_ERRNO(ENOSPC), 0);
		test_post(&shared->ready);
		test_await(&shared->go, 1);
		check("child", 3, ENOSPC);
	}
	test_await(&shared->go, 1);
	test_reap(pid);
	check("parent", 2, 0);
}

int main(int argc, char **argv)
{
	struct shared *shared;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid)
		parent(shared);
	test_await(&shared->ready, 1);
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
