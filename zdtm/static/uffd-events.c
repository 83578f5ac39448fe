/*
 * title: right after a restore regions are forked, dropped, grown and swapped, and hold what they should
 * flavours: host ns userns
 */
#include "memory.h"

enum { REGIONS = 5, PAGES = 64 };
#define SIZE (PAGES * PAGE)

static uint32_t seed(int region)
{
	return 1000 * ((uint32_t)region + 1);
}

int main(int argc, char **argv)
{
	unsigned char *region[REGIONS], *room, *grown;
	pid_t child;

	test_init(argc, argv);
	/* Room between them, that none is joined with its neighbour. */
	for (int i = 0; i < REGIONS; i++) {
		region[i] = map_nothing(SIZE + 2 * PAGE) + PAGE;
		SYS(mprotect(region[i], SIZE, RW));
		pages_fill(region[i], PAGES, seed(i));
	}
	test_daemon();
	test_waitsig();
	/* The child is the first to touch any of it. */
	child = SYS(fork());
	if (!child) {
		for (int i = 0; i < REGIONS; i++)
			pages_check(region[i], PAGES, seed(i), "a region of the child");
		_exit(0);
	}
	SYS(madvise(region[1] + SIZE / 4, SIZE / 2, MADV_DONTNEED));
	grown = SYS(mremap(region[2], SIZE, 2 * SIZE, MREMAP_MAYMOVE));
	room = map_nothing(SIZE);
	SYS(mremap(region[3], SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, room));
	SYS(mremap(region[4], SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, region[3]));
	SYS(mremap(room, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, region[4]));
	pages_check(region[0], PAGES, seed(0), "the region that was left alone");
	pages_check(region[1], PAGES / 4, seed(1), "before what was dropped");
	zeros_check(region[1] + SIZE / 4, PAGES / 2, "what was dropped");
	pages_check(region[1] + 3 * SIZE / 4, PAGES / 4, seed(1) + 3 * PAGES / 4, "after what was dropped");
	pages_check(grown, PAGES, seed(2), "the region that has grown");
	zeros_check(grown + SIZE, PAGES, "what it has grown by");
	pages_check(region[3], PAGES, seed(4), "the first that was swapped");
	pages_check(region[4], PAGES, seed(3), "the other that was swapped");
	test_reap(child);
	pass();
}
