/*
 * title: huge pages that the kernel gave stay huge
 * flavours: host ns userns
 */
#include "memory.h"

#define HUGE (2 * MIB)

enum { AREAS = 4 };

int main(int argc, char **argv)
{
	unsigned char *room, *memory;
	long was, now;

	test_init(argc, argv);
	room = map_nothing((AREAS + 1) * HUGE);
	memory = (unsigned char *)(((unsigned long)room + HUGE - 1) / HUGE * HUGE);
	SYS(mprotect(memory, AREAS * HUGE, RW));
	if (madvise(memory, AREAS * HUGE, MADV_HUGEPAGE))
		skip("this kernel has no transparent huge pages");
	/* The first is full, of the second one byte is written, the third was only read, the fourth is
	 * untouched. */
	pages_fill(memory, HUGE / PAGE, 1);
	memory[HUGE + 12345] = 1;
	(void)*(volatile unsigned char *)(memory + 2 * HUGE);
	was = smaps_kib(memory, AREAS * HUGE, "AnonHugePages");
	if (was != 2 * HUGE / 1024)
		skip("the kernel gives no transparent huge pages");
	test_daemon();
	test_waitsig();
	now = smaps_kib(memory, AREAS * HUGE, "AnonHugePages");
	CHECK(now == was, "%ld KiB are huge instead of %ld", now, was);
	pages_check(memory, HUGE / PAGE, 1, "the full one");
	CHECK(memory[HUGE + 12345] == 1, "the byte is lost");
	memory[HUGE + 12345] = 0;
	zeros_check(memory + HUGE, 3 * HUGE / PAGE, "the others");
	pass();
}
