/*
 * title: a pidfd of a child signals it and waits for it
 * flavours: host ns userns
 */
#include "pidfd.h"

#include "child.h"

static uint32_t signalled;

static void on_signal(int sig)
{
	(void)sig;
	signalled = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t all, none;
	siginfo_t info;
	pid_t child;
	int fd;

	test_init(argc, argv);
	child = child_fork();
	if (!child) {
		SYS(sigfillset(&all));
		SYS(sigprocmask(SIG_SETMASK, &all, NULL));
		SYS(sigaction(SIGUSR1, &action, NULL));
		test_post(&child_words->ready);
		SYS(sigemptyset(&none));
		while (!signalled)
			sigsuspend(&none);
		_exit(0);
	}
	fd = pidfd_of(child, O_NONBLOCK);
	child_await();
	test_daemon();
	test_waitsig();
	pidfd_check(fd, child, O_NONBLOCK, FD_CLOEXEC);
	CHECK(waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED) == -1 && errno == EAGAIN,
	      "waiting for a child that lives: %s", strerror(errno));
	CHECK(!pidfd_signal(fd, SIGUSR1), "the signal: %s", strerror(errno));
	SYS(fcntl(fd, F_SETFL, 0));
	SYS(waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED));
	CHECK(info.si_pid == child && info.si_code == CLD_EXITED && !info.si_status,
	      "pid %d ended with code %d, status %d", info.si_pid, info.si_code, info.si_status);
	pass();
}
