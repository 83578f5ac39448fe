/*
 * title: of 1 GiB only the pages that were touched are there, and what was only read costs no memory
 * flavours: host ns userns
 */
#include "memory.h"

#define SIZE (1UL << 30)

enum { TOUCHED = 5, ZEROS = 16384 };

static const unsigned long touched[TOUCHED] = {0, 1, 100000, 200001, SIZE / PAGE - 1};

int main(int argc, char **argv)
{
	unsigned char *memory, *zeros;

	test_init(argc, argv);
	memory = map_nothing(SIZE + 2 * PAGE) + PAGE;
	zeros = map_nothing((ZEROS + 2) * PAGE) + PAGE;
	SYS(mprotect(memory, SIZE, RW));
	SYS(mprotect(zeros, ZEROS * PAGE, RW));
	SYS(madvise(memory, SIZE, MADV_NOHUGEPAGE));
	SYS(madvise(zeros, ZEROS * PAGE, MADV_NOHUGEPAGE));
	for (int i = 0; i < TOUCHED; i++)
		pages_fill(memory + touched[i] * PAGE, 1, (uint32_t)i + 1);
	/* All of them are one page of the kernel's. */
	for (int i = 0; i < ZEROS; i++)
		CHECK(!*(volatile unsigned char *)(zeros + i * PAGE), "new memory is not zero");
	CHECK(smaps_kib(zeros, ZEROS * PAGE, "Rss") == 0, "reading costs memory from the start");
	test_daemon();
	test_waitsig();
	CHECK(pages_there(memory, SIZE / PAGE) == TOUCHED, "%zu pages are there instead of %d",
	      pages_there(memory, SIZE / PAGE), TOUCHED);
	CHECK(smaps_kib(memory, SIZE, "Rss") == TOUCHED * (long)PAGE / 1024, "%ld KiB are resident",
	      smaps_kib(memory, SIZE, "Rss"));
	CHECK(smaps_kib(zeros, ZEROS * PAGE, "Rss") == 0, "what was only read has %ld KiB now",
	      smaps_kib(zeros, ZEROS * PAGE, "Rss"));
	for (int i = 0; i < TOUCHED; i++)
		pages_check(memory + touched[i] * PAGE, 1, (uint32_t)i + 1, "touched");
	zeros_check(memory + 2 * PAGE, 10, "untouched");
	zeros_check(zeros, ZEROS, "read");
	/* What was read can be written, page by page. */
	zeros[PAGE] = 1;
	CHECK(!zeros[0] && !zeros[2 * PAGE], "a write to one page is seen in others");
	pass();
}
