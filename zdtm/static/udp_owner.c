/*
 * title: a task is told of datagrams by the signal of its choice (F_SETSIG, O_ASYNC), and by which descriptor
 * flavours: host ns userns
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "udp.h"

int main(int argc, char **argv)
{
	const struct timespec soon = {5, 0};
	int signum = SIGRTMIN + 3, fd, other;
	siginfo_t info;
	sigset_t set;

	test_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, signum);
	sigaddset(&set, SIGIO);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
	fd = udp_bound(AF_INET, 0, 0);
	other = udp_bound(AF_INET6, 0, 0);
	SYS(fcntl(fd, F_SETOWN, getpid()));
	SYS(fcntl(fd, F_SETSIG, signum));
	SYS(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	test_daemon();
	test_waitsig();
	CHECK(fcntl(fd, F_GETOWN) == getpid() && fcntl(fd, F_GETSIG) == signum,
	      "the owner is %d, by signal %d", fcntl(fd, F_GETOWN), fcntl(fd, F_GETSIG));
	CHECK(fcntl(fd, F_GETFL) == (O_RDWR | O_ASYNC | O_NONBLOCK), "the flags are %#x", fcntl(fd, F_GETFL));
	CHECK(!fcntl(other, F_GETOWN), "who had no owner has one");
	udp_to(other, "quiet", other);
	SYS(sigpending(&set));
	CHECK(!sigismember(&set, signum) && !sigismember(&set, SIGIO), "told of nothing");
	sigemptyset(&set);
	sigaddset(&set, signum);
	udp_to(fd, "loud", fd);
	CHECK(sigtimedwait(&set, &info, &soon) == signum, "nobody was told: %m");
	CHECK(info.si_fd == fd && info.si_band & POLLIN, "told of descriptor %d, %#lx", info.si_fd,
	      info.si_band);
	udp_comes(fd, "loud", fd, "who was told");
	pass();
}
