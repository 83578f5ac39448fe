/*
 * title: shared anonymous memory with another mapping that is private, and a third that is shared
 * flavours: host ns
 * flags: suid
 */
#include "memory.h"

enum { PAGES = 12 };

int main(int argc, char **argv)
{
	unsigned char *memory, *own, *again;
	int fd;

	test_init(argc, argv);
	memory = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mmap(memory, PAGES * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	pages_fill(memory, PAGES / 2, 1);
	fd = map_files_open(memory, PAGES * PAGE, O_RDWR);
	own = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE, fd, 0));
	again = SYS(mmap(NULL, (PAGES - 1) * PAGE, RW, MAP_SHARED, fd, PAGE));
	SYS(close(fd));
	pages_fill(own + PAGE, 1, 100);			 /* of a page that holds something */
	pages_fill(own + (PAGES - 2) * PAGE, 1, 101);	 /* of one that does not */
	pages_fill(memory + (PAGES - 1) * PAGE, 1, 102); /* through to all three */
	test_daemon();
	test_waitsig();
	pages_check(memory, PAGES / 2, 1, "shared");
	pages_check(again, PAGES / 2 - 1, 2, "shared again");
	for (int i = 0; i < PAGES; i++) {
		uint32_t seed = i == 1 ? 100 : i == PAGES - 2 ? 101 : i == PAGES - 1 ? 102 : 1 + (uint32_t)i;

		if (i < PAGES / 2 || i >= PAGES - 2)
			CHECK(page_is(own + i * PAGE, seed), "private: page %d differs", i);
		else
			CHECK(page_is_zero(own + i * PAGE), "private: page %d is not zero", i);
	}
	CHECK(page_is_zero(memory + (PAGES - 2) * PAGE), "a private page has come through");
	/* The private one follows what it has not changed itself. */
	pages_fill(again, 2, 200);
	pages_check(memory + PAGE, 2, 200, "shared, through the other mapping");
	CHECK(page_is(own + PAGE, 100), "what is private has changed");
	CHECK(page_is(own + 2 * PAGE, 201), "a page that is private does not follow its file");
	pages_fill(own + 3 * PAGE, 1, 300);
	CHECK(page_is(memory + 3 * PAGE, 4) && page_is(again + 2 * PAGE, 4), "a private write is shared");
	pass();
}
