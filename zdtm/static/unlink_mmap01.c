/*
 * title: a file that is mapped by two names, both deleted
 * flavours: host ns userns
 */
#include <sys/mman.h>

#include "files.h"

enum { SIZE = 8192 };

static unsigned char *map(const char *name)
{
	int fd = SYS(open(name, O_RDWR));
	unsigned char *at = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	SYS(close(fd));
	SYS(unlink(name));
	return at;
}

int main(int argc, char **argv)
{
	unsigned char *one, *other;

	test_init(argc, argv);
	SYS(close(file_make("one", SIZE, 1)));
	SYS(link("one", "other"));
	one = map("one");
	other = map("other");
	test_daemon();
	test_waitsig();
	CHECK(test_differs(one, SIZE, 1) < 0 && test_differs(other, SIZE, 1) < 0, "other bytes");
	one[0] ^= 0xff;
	CHECK(one[0] == other[0], "two files");
	file_absent("one");
	file_absent("other");
	pass();
}
