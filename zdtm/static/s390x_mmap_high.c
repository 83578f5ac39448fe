/*
 * title: a page at the upper end of an address space of 8 PiB
 * flavours: host ns userns
 * arch: s390x
 */
#include "memory.h"

int main(int argc, char **argv)
{
	unsigned char *last = (unsigned char *)((1UL << 53) - PAGE);

	test_init(argc, argv);
	SYS(mmap(last, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	pages_fill(last, 1, 1);
	test_daemon();
	test_waitsig();
	pages_check(last, 1, 1, "the last page");
	pass();
}
