/*
 * title: pages at both ends of the address space
 * flavours: host ns userns
 * arch: x86_64
 */
#include "memory.h"

int main(int argc, char **argv)
{
	unsigned long lowest = strtoul(test_read_file("/proc/sys/vm/mmap_min_addr", NULL), NULL, 10);
	/* The kernel keeps the last page; with five levels of page tables there is more above. */
	unsigned long ends[] = {lowest, (1UL << 47) - 2 * PAGE, (1UL << 47), (1UL << 56) - 2 * PAGE};
	unsigned char *pages[4];
	int found = 0;

	test_init(argc, argv);
	for (int i = 0; i < 4; i++) {
		pages[i] = mmap((void *)ends[i], PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
				-1, 0);
		if (pages[i] == MAP_FAILED)
			continue;
		CHECK((unsigned long)pages[i] == ends[i], "the kernel chose %p", pages[i]);
		pages_fill(pages[i], 1, 10 + (uint32_t)i);
		found++;
	}
	CHECK(pages[0] != MAP_FAILED && pages[1] != MAP_FAILED, "neither end: %m");
	test_daemon();
	test_waitsig();
	for (int i = 0; i < 4; i++)
		if (pages[i] != MAP_FAILED)
			pages_check(pages[i], 1, 10 + (uint32_t)i, "a page at an end");
	test_msg("%d of 4\n", found);
	pass();
}
