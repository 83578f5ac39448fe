/*
 * title: filters that deny what a checkpoint would do in the task neither disturb it nor suffer
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 */
#include "filter.h"

#include <signal.h>

/* errno, or 0 for those that kill. */
static const struct {
	int nr, error;
} denied[] = {
	{SYS_mmap, EPERM},
	{SYS_munmap, 0},
	{SYS_prctl, EPERM},
	{SYS_seccomp, ENOSYS},
	{SYS_futex, 0},
	{SYS_rt_sigprocmask, ENOTTY},
	{SYS_rt_sigaction, 0},
	{SYS_getitimer, EPERM},
	{SYS_setitimer, 0},
	{SYS_sigaltstack, 0},
	{SYS_getpid, EPERM},
	{SYS_set_robust_list, 0},
	{SYS_get_robust_list, 0},
	{SYS_clone3, ENOSYS},
	{SYS_pidfd_open, 0},
	{SYS_pidfd_getfd, EPERM},
	{SYS_mprotect, EPERM},
	{SYS_set_tid_address, 0},
	{SYS_restart_syscall, EPERM},
	{SYS_membarrier, 0},
	{SYS_close_range, EPERM},
};
enum { COUNT = sizeof(denied) / sizeof(*denied) };

static void check(void)
{
	for (int i = 0; i < COUNT; i++) {
		pid_t pid;

		if (denied[i].error) {
			filter_expect(denied[i].nr, denied[i].error);
			continue;
		}
		pid = (pid_t)SYS(syscall(SYS_fork)); /* the library's would block signals first */
		if (!pid) {
			syscall(denied[i].nr, 0, 0, 0, 0, 0, 0);
			syscall(SYS_exit_group, i + 1);
		}
		filter_reap_killed(pid, SIGSYS);
	}
}

int main(int argc, char **argv)
{
	sigset_t term, none;

	test_init(argc, argv);
	/* As test_waitsig() does it, but for the calls that will be denied. */
	sigemptyset(&none);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	for (int i = 0; i < COUNT; i++) { /* seccomp(2) itself comes last */
		int at = (i + 4) % COUNT;

		filter_add(denied[at].nr,
			   denied[at].error ? FILTER_ERRNO(denied[at].error) : SECCOMP_RET_KILL_PROCESS, 0);
	}
	check();
	test_daemon();
	while (test_go())
		sigsuspend(&none);
	check();
	pass();
}
