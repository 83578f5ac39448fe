/*
 * title: filters that were set before fork bind the child, and the child's child
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 */
#include "child.h"
#include "filter.h"

#include <signal.h>

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

static _Noreturn void parent(void)
{
	pid_t pid;

	filter_add(SYS_ptrace, SECCOMP_RET_KILL, 0);
	filter_add(SYS_getpgrp, FILTER_ERRNO(ENOTTY), 0);
	pid = SYS(fork());
	if (!pid) {
		filter_add(SYS_getuid, FILTER_ERRNO(ENOSPC), 0);
		child_wait();
		check("child", 3, ENOSPC);
	}
	child_await_go();
	test_reap(pid);
	check("parent", 2, 0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid)
		parent();
	child_await();
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	child_go();
	test_reap(pid);
	pass();
}
