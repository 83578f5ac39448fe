/*
 * title: shared memory that is larger than what anybody maps still keeps its size and contents
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

enum { PAGES = 32, HEAD = 4, TAIL = 10 };

int main(int argc, char **argv)
{
	unsigned char *head, *tail, *grown;

	test_init(argc, argv);
	/* One lost its end, the other its beginning: the rest is in memory, with no way to it but mremap. */
	head = map_anonymous(PAGES * PAGE, MAP_SHARED);
	pages_fill(head, PAGES, 1);
	SYS(mremap(head, PAGES * PAGE, HEAD * PAGE, 0));
	tail = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mmap(tail, PAGES * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	pages_fill(tail, PAGES, 101);
	SYS(munmap(tail, (PAGES - 2 * TAIL) * PAGE));
	tail += (PAGES - 2 * TAIL) * PAGE;
	SYS(munmap(tail + TAIL * PAGE, TAIL * PAGE));
	test_daemon();
	test_waitsig();
	pages_check(head, HEAD, 1, "the head");
	pages_check(tail, TAIL, 101 + PAGES - 2 * TAIL, "the middle");
	/* Longer than it ever was: there is no page behind its end. */
	grown = SYS(mremap(head, HEAD * PAGE, (PAGES + 1) * PAGE, MREMAP_MAYMOVE));
	CHECK(!probe(grown + (PAGES - 1) * PAGE, PROBE_READ), "it has become shorter");
	pages_check(grown, PAGES, 1, "what nobody had mapped");
	CHECK(probe(grown + PAGES * PAGE, PROBE_READ) == SIGBUS, "it has become longer");
	grown = SYS(mremap(tail, TAIL * PAGE, 2 * TAIL * PAGE, MREMAP_MAYMOVE));
	CHECK(!probe(grown + (2 * TAIL - 1) * PAGE, PROBE_READ), "the other has become shorter");
	pages_check(grown, 2 * TAIL, 101 + PAGES - 2 * TAIL, "what nobody had mapped of the other");
	pass();
}
