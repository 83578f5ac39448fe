/*
 * title: pages that were paged out, where there is somewhere to page out to, hold what they held
 * flavours: host ns userns
 */
#include "memory.h"

enum { KINDS = 3, PAGES = 256, SEED = 50 };

int main(int argc, char **argv)
{
	static const int flags[KINDS] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};
	unsigned char *memory[KINDS];
	size_t there;
	int fd;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	SYS(fsync(fd));
	for (int i = 0; i < KINDS; i++) {
		memory[i] = SYS(mmap(NULL, PAGES * PAGE, RW, flags[i], i ? fd : -1, 0));
		if (!i)
			pages_fill(memory[i], PAGES, SEED);
		else
			pages_check(memory[i], PAGES, SEED, "the file");
		if (i == 1)
			pages_fill(memory[i] + 7 * PAGE, 100, 1000);
		if (madvise(memory[i], PAGES * PAGE, MADV_PAGEOUT))
			CHECK(errno == EINVAL, "madvise: %m");
	}
	SYS(close(fd));
	there = pages_there(memory[0], PAGES);
	test_daemon();
	test_waitsig();
	CHECK(pages_there(memory[0], PAGES) == there, "%zu pages are there instead of %zu",
	      pages_there(memory[0], PAGES), there);
	pages_check(memory[0], PAGES, SEED, "anonymous");
	pages_check(memory[1], 7, SEED, "private, of the file");
	pages_check(memory[1] + 7 * PAGE, 100, 1000, "private, changed");
	pages_check(memory[1] + 107 * PAGE, PAGES - 107, SEED + 107, "private, of the file");
	pages_check(memory[2], PAGES, SEED, "shared");
	pass();
}
