/*
 * title: a child keeps two filters, one upon the other, and both kill it
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 */
#include "child.h"
#include "filter.h"

#include <signal.h>

static _Noreturn void child(void)
{
	pid_t grandchild;

	filter_add(SYS_ptrace, SECCOMP_RET_KILL, 0);
	filter_add(SYS_setresuid, SECCOMP_RET_KILL, 0);
	child_wait();
	filter_expect_mode(SECCOMP_MODE_FILTER, 2);
	filter_expect(SYS_getppid, 0);
	grandchild = SYS(fork());
	if (!grandchild) {
		syscall(SYS_setresuid, -1, -1, -1);
		fail("setresuid works: the second filter is lost");
	}
	filter_reap_killed(grandchild, SIGSYS);
	syscall(SYS_ptrace, 0, 0, 0, 0);
	fail("ptrace works: the first filter is lost");
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid)
		child();
	child_await();
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	child_go();
	filter_reap_killed(pid, SIGSYS);
	pass();
}
