/*
 * title: a deleted file that is mapped twice, with different protections
 * flavours: host ns userns
 */
#include <sys/mman.h>

#include "files.h"

enum { SIZE = 8192 };

int main(int argc, char **argv)
{
	unsigned char *reads, *writes;
	int fd;

	test_init(argc, argv);
	fd = file_make("file", SIZE, 1);
	reads = SYS(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0));
	writes = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	SYS(close(fd));
	SYS(unlink("file"));
	test_daemon();
	test_waitsig();
	CHECK(test_differs(reads, SIZE, 1) < 0 && test_differs(writes, SIZE, 1) < 0, "other bytes");
	writes[SIZE - 1] ^= 0xff;
	CHECK(reads[SIZE - 1] == writes[SIZE - 1], "two files");
	file_absent("file");
	pass();
}
