/*
 * title: memory that may be dropped, and memory that children do not get, are that still, in a child too
 * flavours: host ns userns
 */
#include "child.h"
#include "memory.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

enum { PAGES = 8 };

static unsigned char *droppable, *wiped;

/* Each page is as it was, or was dropped; the other area is as it was. */
static void check(const char *who, uint32_t seed)
{
	pid_t child;

	for (uint32_t i = 0; i < PAGES; i++)
		CHECK(page_is(droppable + i * PAGE, seed + i) || page_is_zero(droppable + i * PAGE),
		      "%s: page %u that may be dropped holds something else", who, i);
	pages_check(wiped, PAGES, seed + 100, who);
	/* Full again: the next child would see it. */
	pages_fill(droppable, PAGES, seed);
	child = SYS(fork());
	if (!child) {
		zeros_check(droppable, PAGES, "droppable, of a later child");
		zeros_check(wiped, PAGES, "wiped, of a later child");
		_exit(0);
	}
	test_reap(child);
	pages_check(wiped, PAGES, seed + 100, who);
	CHECK(has_flag(droppable, "dp"), "%s: what may be dropped may not any more", who);
}

int main(int argc, char **argv)
{
	pid_t child;

	test_init(argc, argv);
	droppable = mmap(NULL, PAGES * PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	if (droppable == MAP_FAILED)
		skip("this kernel has no MAP_DROPPABLE");
	wiped = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	SYS(madvise(wiped, PAGES * PAGE, MADV_WIPEONFORK));
	pages_fill(droppable, PAGES, 1);
	pages_fill(wiped, PAGES, 101);
	child = child_fork();
	if (!child) {
		zeros_check(droppable, PAGES, "droppable, of the child");
		zeros_check(wiped, PAGES, "wiped, of the child");
		pages_fill(droppable, PAGES, 1001);
		pages_fill(wiped, PAGES, 1101);
		child_wait();
		check("child", 1001);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check("parent", 1);
	child_go();
	test_reap(child);
	pass();
}
