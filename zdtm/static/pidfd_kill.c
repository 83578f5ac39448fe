/*
 * title: pidfds of child, grandchild, parents and of a zombie reach whom they did
 * flavours: host ns userns
 */
#include <poll.h>

#include "pidfd.h"

static void check_parent(int fd)
{
	pidfd_check(fd, getppid(), 0, FD_CLOEXEC);
}

int main(int argc, char **argv)
{
	struct words {
		uint32_t ready, go, seen;
		pid_t grandchild;
	} *words;
	struct pollfd poll_fd = {.events = POLLIN};
	siginfo_t info;
	pid_t child, zombie;
	int fds[3], i;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	child = SYS(fork());
	if (!child) {
		int fd = pidfd_of(getppid(), 0);

		pid_t grandchild = SYS(fork());

		if (!grandchild) {
			fd = pidfd_of(getppid(), 0);
			test_post(&words->ready);
			test_await(&words->go, 1);
			check_parent(fd);
			test_post(&words->seen);
			for (;;)
				pause();
		}
		words->grandchild = grandchild;
		test_post(&words->ready);
		test_await(&words->go, 1);
		check_parent(fd);
		SYS(waitid(P_PID, (id_t)grandchild, &info, WEXITED));
		CHECK(info.si_code == CLD_KILLED && info.si_status == SIGKILL, "grandchild: code %d, %d",
		      info.si_code, info.si_status);
		test_post(&words->seen);
		for (;;)
			pause();
	}
	test_await(&words->ready, 2);
	zombie = SYS(fork());
	if (!zombie)
		_exit(5);
	SYS(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	fds[0] = pidfd_of(child, 0);
	fds[1] = pidfd_of(words->grandchild, 0);
	fds[2] = pidfd_of(zombie, 0);
	test_daemon();
	test_waitsig();
	pidfd_check(fds[0], child, 0, FD_CLOEXEC);
	pidfd_check(fds[1], words->grandchild, 0, FD_CLOEXEC);
	CHECK(pidfd_info(fds[2], "\nPid:", 10) == zombie, "the zombie's is of %ld",
	      pidfd_info(fds[2], "\nPid:", 10));
	for (i = 0; i < 3; i++) {
		poll_fd.fd = fds[i];
		CHECK(SYS(poll(&poll_fd, 1, 0)) == (i == 2), "pidfd %d: events %#x", i, poll_fd.revents);
	}
	SYS(waitid((idtype_t)P_PIDFD, (id_t)fds[2], &info, WEXITED));
	CHECK(info.si_pid == zombie && info.si_status == 5, "the zombie is %d, %d", info.si_pid,
	      info.si_status);
	test_post(&words->go);
	test_await(&words->seen, 1);
	CHECK(!pidfd_signal(fds[1], SIGKILL), "the grandchild: %s", strerror(errno));
	test_await(&words->seen, 2);
	poll_fd.fd = fds[1];
	CHECK(SYS(poll(&poll_fd, 1, -1)) == 1, "its end is not told");
	CHECK(!pidfd_signal(fds[0], SIGKILL), "the child: %s", strerror(errno));
	SYS(waitid((idtype_t)P_PIDFD, (id_t)fds[0], &info, WEXITED));
	CHECK(info.si_pid == child && info.si_code == CLD_KILLED && info.si_status == SIGKILL,
	      "the child's end: code %d, %d", info.si_code, info.si_status);
	pass();
}
