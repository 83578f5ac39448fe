/*
 * title: pidfds of the process itself, blocking and not, one description under two numbers
 * flavours: host ns userns
 */
#include <sys/syscall.h>

#include "pidfd.h"

int main(int argc, char **argv)
{
	int fd, same, other;

	test_init(argc, argv);
	fd = pidfd_of(getpid(), 0);
	same = SYS(dup(fd));
	other = pidfd_of(getpid(), O_NONBLOCK);
	test_daemon();
	test_waitsig();
	pidfd_check(fd, getpid(), 0, FD_CLOEXEC);
	pidfd_check(same, getpid(), 0, 0);
	pidfd_check(other, getpid(), O_NONBLOCK, FD_CLOEXEC);
	CHECK(pidfd_ino(fd) == pidfd_ino(same) && pidfd_ino(fd) == pidfd_ino(other),
	      "%llu, %llu and %llu for one process", pidfd_ino(fd), pidfd_ino(same), pidfd_ino(other));
	CHECK(!syscall(SYS_kcmp, getpid(), getpid(), 0, fd, same), "two descriptions instead of one");
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0, fd, other), "one description instead of two");
	pass();
}
