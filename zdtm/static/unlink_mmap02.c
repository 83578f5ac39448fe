/*
 * title: a deleted file that is open and mapped is the same file for both
 * flavours: host ns userns
 */
#include <sys/mman.h>

#include "files.h"

enum { SIZE = 8192 };

int main(int argc, char **argv)
{
	unsigned char *shared, *own, other[SIZE];
	int fd;

	test_init(argc, argv);
	fd = file_make("file", SIZE, 1);
	shared = SYS(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0));
	own = SYS(mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0));
	SYS(unlink("file"));
	test_daemon();
	test_waitsig();
	CHECK(test_differs(shared, SIZE, 1) < 0 && test_differs(own, SIZE, 1) < 0, "other bytes");
	test_fill(other, SIZE, 2);
	CHECK(pwrite(fd, other, SIZE, 0) == SIZE, "a short write");
	CHECK(test_differs(shared, SIZE, 2) < 0, "the shared mapping is of another file");
	CHECK(test_differs(own, SIZE, 2) < 0, "the private mapping is of another file");
	pass();
}
