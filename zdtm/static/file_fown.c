/*
 * title: a pipe's owner, set under another effective user, is so again, and the signal comes
 * flavours: host
 * flags: suid
 */
#include "child.h"
#include "owners.h"

enum { OTHER = 18943 };

static void check(int fd, pid_t owner, int flags)
{
	owners_expect(fd, F_OWNER_PID, owner, SIGIO);
	owners_expect_uids(fd, 0, OTHER);
	CHECK(fcntl(fd, F_GETFL) == flags, "flags %#o instead of %#o", fcntl(fd, F_GETFL), flags);
}

int main(int argc, char **argv)
{
	int pipes[2], flags;
	siginfo_t info;
	sigset_t io;
	pid_t child;

	test_init(argc, argv);
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	SYS(sigprocmask(SIG_BLOCK, &io, NULL));
	SYS(pipe(pipes));
	SYS(seteuid(OTHER));
	owners_set(pipes[0], F_OWNER_PID, getpid(), SIGIO);
	SYS(fcntl(pipes[0], F_SETFL, O_NONBLOCK | O_ASYNC));
	SYS(seteuid(0));
	flags = SYS(fcntl(pipes[0], F_GETFL));
	check(pipes[0], getpid(), O_NONBLOCK | O_ASYNC);
	child = child_fork();
	if (!child) {
		child_wait();
		check(pipes[0], getppid(), flags);
		CHECK(write(pipes[1], "x", 1) == 1, "a short write");
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check(pipes[0], getpid(), flags);
	CHECK(sigpending(&io) == 0 && !sigismember(&io, SIGIO), "SIGIO came from nothing");
	child_go();
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	SYS(sigwaitinfo(&io, &info));
	CHECK(info.si_code == POLL_IN && info.si_fd == pipes[0] && info.si_band, "code %d, fd %d, band %#lx",
	      info.si_code, info.si_fd, info.si_band);
	test_reap(child);
	pass();
}
