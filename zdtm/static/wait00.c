/*
 * title: a child that sleeps is there to be signalled and waited for
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t sender;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	sender = info->si_pid;
}

static _Noreturn void child(pid_t parent, uint32_t *ready)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigset_t usr1, before;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	SYS(sigaction(SIGUSR1, &action, NULL));
	SYS(sigprocmask(SIG_BLOCK, &usr1, &before));
	test_post(ready);
	sigsuspend(&before);
	CHECK(sender == parent, "the signal is from %d instead of %d", (int)sender, parent);
	CHECK(getppid() == parent, "the parent is %d, was %d", getppid(), parent);
	_exit(0);
}

int main(int argc, char **argv)
{
	uint32_t *ready;
	siginfo_t info;
	pid_t pid;

	test_init(argc, argv);
	ready = test_shared(sizeof(*ready));
	pid = SYS(fork());
	if (!pid)
		child(getppid(), ready);
	test_await(ready, 1);
	test_daemon();
	test_waitsig();
	CHECK(SYS(waitpid(-1, NULL, WNOHANG)) == 0, "the child has ended by itself");
	SYS(kill(pid, SIGUSR1));
	SYS(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT));
	CHECK(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 0,
	      "pid %d code %d status %d instead of pid %d", info.si_pid, info.si_code, info.si_status, pid);
	CHECK(info.si_uid == getuid(), "the child was of uid %d", info.si_uid);
	test_reap(pid);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD, "there is a second child");
	pass();
}
