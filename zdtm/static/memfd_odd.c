/*
 * title: a memfd called like shared anonymous memory is none, and one can be open as a mere path
 * flavours: host ns userns
 */
#include "memfd.h"

int main(int argc, char **argv)
{
	struct memfd_state was;
	int fd, path, flags;
	char byte;

	test_init(argc, argv);
	fd = SYS(memfd_create("/dev/zero", 0));
	CHECK(write(fd, "abc", 3) == 3, "write: %m");
	was = memfd_state(fd);
	path = memfd_reopen(fd, O_PATH);
	flags = SYS(fcntl(path, F_GETFL));
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	CHECK(pread(fd, &byte, 1, 2) == 1 && byte == 'c', "contents differ");
	CHECK(fcntl(path, F_GETFL) == flags, "flags %#o instead of %#o", fcntl(path, F_GETFL), flags);
	CHECK(read(path, &byte, 1) < 0 && errno == EBADF, "a mere path can be read");
	CHECK(memfd_same(path, fd), "a path leads elsewhere");
	pass();
}
