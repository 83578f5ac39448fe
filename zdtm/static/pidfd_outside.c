/*
 * title: a pidfd of a process that is not dumped is refused
 * flavours: host
 * flags: crfail
 */
#include "pidfd.h"

int main(int argc, char **argv)
{
	int fd;

	test_init(argc, argv);
	fd = pidfd_of(getppid(), 0);
	test_daemon();
	test_waitsig();
	CHECK(pidfd_info(fd, "\nPid:", 10) == getppid(), "it is of another process");
	pass();
}
