/*
 * title: a stop that the parent has waited for is not reported to it again, nor signalled
 * flavours: host ns userns
 */
#include "stopped.h"

static volatile sig_atomic_t signals;

static void count(int sig)
{
	(void)sig;
	signals++;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
	siginfo_t info = {.si_pid = 0};
	struct stopped child;

	test_init(argc, argv);
	SYS(sigaction(SIGCHLD, &action, NULL));
	child = stopped_start(SIGSTOP, 0);
	stopped_wait(&child, 0);
	CHECK(signals == 1, "%d signals for one stop from the start", signals);
	test_daemon();
	test_waitsig();
	stopped_holds(&child);
	CHECK(signals == 1, "%d signals for one stop", signals);
	SYS(waitid(P_PID, (id_t)child.pid, &info, WSTOPPED | WEXITED | WCONTINUED | WNOHANG));
	CHECK(!info.si_pid, "wait reports it again: code %d, status %d", info.si_code, info.si_status);
	SYS(kill(child.pid, SIGCONT));
	test_reap(child.pid);
	pass();
}
