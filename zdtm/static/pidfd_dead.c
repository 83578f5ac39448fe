/*
 * title: pidfds of processes that have ended, two each: one inode a process, flags, nobody to signal
 * flavours: host ns userns
 */
#include <poll.h>

#include "pidfd.h"

#include "child.h"

int main(int argc, char **argv)
{
	struct pollfd poll_fd = {.events = POLLIN};
	int fds[4], i;
	pid_t child, grandchild, *told;
	siginfo_t info;

	test_init(argc, argv);
	told = test_shared(sizeof(*told));
	child = child_fork();
	if (!child) {
		grandchild = SYS(fork());
		if (!grandchild) {
			*told = getpid();
			child_wait();
			_exit(0);
		}
		child_await_go();
		test_reap(grandchild);
		_exit(3);
	}
	child_await();
	grandchild = *told;
	for (i = 0; i < 4; i++)
		fds[i] = pidfd_of(i < 2 ? child : grandchild, i % 2 ? O_NONBLOCK : 0);
	SYS(fcntl(fds[3], F_SETFD, 0));
	child_go();
	SYS(waitid(P_PID, (id_t)child, &info, WEXITED));
	test_daemon();
	test_waitsig();
	for (i = 0; i < 4; i++) {
		pidfd_check(fds[i], -1, i % 2 ? O_NONBLOCK : 0, i == 3 ? 0 : FD_CLOEXEC);
		poll_fd.fd = fds[i];
		CHECK(SYS(poll(&poll_fd, 1, 0)) == 1 && poll_fd.revents & POLLIN, "pidfd %d: events %#x", i,
		      poll_fd.revents);
		CHECK(waitid((idtype_t)P_PIDFD, (id_t)fds[i], &info, WEXITED) == -1 && errno == ECHILD,
		      "it is waited for: %s", strerror(errno));
	}
	CHECK(pidfd_ino(fds[0]) == pidfd_ino(fds[1]) && pidfd_ino(fds[2]) == pidfd_ino(fds[3]),
	      "the inodes are %llu, %llu and %llu, %llu", pidfd_ino(fds[0]), pidfd_ino(fds[1]),
	      pidfd_ino(fds[2]), pidfd_ino(fds[3]));
	CHECK(pidfd_ino(fds[0]) != pidfd_ino(fds[2]), "of two processes, one inode %llu", pidfd_ino(fds[0]));
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "it has children that it never had");
	pass();
}
