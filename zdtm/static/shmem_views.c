/*
 * title: shared anonymous memory: cut, mapped twice, read-only here and writable there, is one object
 * flavours: host ns userns
 */
#include "child.h"
#include "memory.h"
#include "probe.h"

enum { PAGES = 64, MIDDLE = 20, CUT = 8 };

int main(int argc, char **argv)
{
	unsigned char *memory, *twice, *reading;
	pid_t child;

	test_init(argc, argv);
	memory = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mmap(memory, PAGES * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	pages_fill(memory, PAGES, 1);
	SYS(madvise(memory + 50 * PAGE, PAGE, MADV_REMOVE)); /* a hole */
	/* With an old size of 0 a shared mapping is not moved but doubled: mremap(2). */
	twice = SYS(mremap(memory + MIDDLE * PAGE, 0, 10 * PAGE, MREMAP_MAYMOVE));
	reading = SYS(mremap(memory, 0, PAGES * PAGE, MREMAP_MAYMOVE));
	SYS(mprotect(reading, PAGES * PAGE, PROT_READ));
	child = child_fork();
	if (!child) {
		SYS(mprotect(memory, PAGES * PAGE, PROT_READ));
		SYS(munmap(twice, 10 * PAGE));
		child_wait();
		CHECK(probe(memory, PROBE_WRITE) == SIGSEGV, "the child can write");
		CHECK(page_is(memory + MIDDLE * PAGE, 100), "the child does not see what was written");
		pages_check(memory, MIDDLE, 1, "child");
		SYS(mprotect(reading, PAGES * PAGE, RW));
		pages_fill(reading + 30 * PAGE, 1, 200);
		_exit(0);
	}
	/* The middle is gone, which is there by the other mappings. */
	SYS(munmap(memory + MIDDLE * PAGE, CUT * PAGE));
	child_await();
	test_daemon();
	test_waitsig();
	pages_check(memory, MIDDLE, 1, "before the cut");
	CHECK(probe(memory + MIDDLE * PAGE, PROBE_READ) == SIGSEGV, "the cut is filled");
	pages_check(memory + (MIDDLE + CUT) * PAGE, 50 - MIDDLE - CUT, 1 + MIDDLE + CUT, "behind the cut");
	zeros_check(memory + 50 * PAGE, 1, "the hole");
	pages_check(memory + 51 * PAGE, PAGES - 51, 52, "behind the hole");
	pages_check(twice, 10, 1 + MIDDLE, "the second mapping");
	CHECK(probe(reading, PROBE_WRITE) == SIGSEGV, "what was read-only is not");
	pages_check(reading, 50, 1, "the third mapping");
	pages_fill(twice, 1, 100);
	CHECK(page_is(reading + MIDDLE * PAGE, 100), "two mappings are of two objects");
	child_go();
	test_reap(child);
	CHECK(page_is(memory + 30 * PAGE, 200), "the child's is another object");
	pass();
}
