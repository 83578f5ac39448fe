/*
 * title: what was mapped from /dev/zero is there, and so are files that only lie below /dev
 * flavours: host
 * flags: suid
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 4 * PAGE, RW = PROT_READ | PROT_WRITE };

int main(int argc, char **argv)
{
	unsigned char *zeroes, *ours, *theirs, byte;
	char name[64];
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/dev/zero", O_RDWR));
	zeroes = SYS(mmap(NULL, SIZE, RW, MAP_PRIVATE, fd, 0));
	SYS(close(fd));
	test_fill(zeroes + PAGE, PAGE, 1);
	snprintf(name, sizeof(name), "/dev/shm/maps_device-%d", getpid());
	fd = SYS(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	SYS(ftruncate(fd, SIZE));
	theirs = SYS(mmap(NULL, SIZE, RW, MAP_SHARED, fd, 0));
	ours = SYS(mmap(NULL, SIZE, RW, MAP_PRIVATE, fd, 0));
	SYS(close(fd));
	test_fill(theirs, SIZE, 2);
	test_fill(ours + PAGE, PAGE, 3);
	test_daemon();
	test_waitsig();
	fd = SYS(open(name, O_RDWR));
	SYS(unlink(name));
	CHECK(!zeroes[0] && !zeroes[SIZE - 1], "/dev/zero: not zero");
	CHECK(test_differs(zeroes + PAGE, PAGE, 1) < 0, "/dev/zero: contents");
	CHECK(test_differs(theirs, SIZE, 2) < 0, "the file, shared: contents");
	CHECK(test_differs(ours + PAGE, PAGE, 3) < 0, "the file, private: contents");
	/* The one is the file, of the other all but the changed page is. */
	theirs[5] = (unsigned char)~theirs[5];
	theirs[PAGE + 5] = (unsigned char)~theirs[PAGE + 5];
	CHECK(pread(fd, &byte, 1, 5) == 1 && byte == theirs[5], "the file does not change with its mapping");
	CHECK(ours[5] == theirs[5], "the private mapping is of another file");
	CHECK(test_differs(ours + PAGE, PAGE, 3) < 0, "the file shows through a changed page");
	pass();
}
