/*
 * title: sealed against future writes, a memfd has the writable mapping that it had, and gets no other
 * flavours: host ns userns
 */
#include "memfd.h"

enum { PAGE = 4096 };

int main(int argc, char **argv)
{
	unsigned char *writer, *reader;
	struct memfd_state was;
	int fd;

	test_init(argc, argv);
	fd = SYS(memfd_create("ring", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	SYS(ftruncate(fd, PAGE));
	writer = SYS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	reader = SYS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, memfd_reopen(fd, O_RDONLY), 0));
	test_fill(writer, PAGE, 1);
	was = memfd_state(fd);
	test_daemon();
	test_waitsig();
	memfd_check(fd, &was);
	memfd_check_mapped(writer, fd);
	memfd_check_mapped(reader, fd);
	CHECK(test_differs(reader, PAGE, 1) < 0, "contents differ");
	test_fill(writer, PAGE, 2);
	CHECK(test_differs(reader, PAGE, 2) < 0, "the reader does not see what is written");
	CHECK(write(fd, "x", 1) < 0 && errno == EPERM, "write(2) is allowed");
	CHECK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM,
	      "a writable mapping is allowed");
	CHECK(mprotect(reader, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "the reader may write");
	pass();
}
