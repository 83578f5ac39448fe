/*
 * title: the stack, and mappings that grow like one, grow on after a restore, down to their guard gap
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

#include <alloca.h>

/* The kernel keeps 256 pages free below (stack_guard_gap), unless told otherwise at boot. */
enum { GAP = 256, ROOM = 1024, FIRST = 4, GROWN = 8 };

/* The lowest page of a growing mapping whose top is known. */
static unsigned char *lowest(unsigned char *top)
{
	long kib = smaps_kib(top - PAGE, PAGE, "Size");

	CHECK(kib > 0, "the mapping is gone");
	return top - kib * 1024;
}

static void __attribute__((noinline)) deep(size_t pages, uint32_t seed)
{
	unsigned char *frame = alloca(pages * PAGE);

	/* From the top downwards, as a stack does. */
	for (size_t i = pages; i--;)
		test_fill(frame + i * PAGE, PAGE, seed + (uint32_t)i);
	pages_check(frame, pages, seed, "the stack");
}

int main(int argc, char **argv)
{
	unsigned char *room, *top, *neighbour;
	int sig;

	test_init(argc, argv);
	/* A neighbour, then room, then what grows. */
	room = map_nothing((2 + ROOM) * PAGE);
	SYS(munmap(room, (2 + ROOM) * PAGE));
	neighbour = SYS(mmap(room, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	top = room + (1 + ROOM) * PAGE;
	SYS(mmap(top - FIRST * PAGE, FIRST * PAGE, RW,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN, -1, 0));
	pages_fill(neighbour, 1, 1);
	pages_fill(top - GROWN * PAGE, GROWN, 100);
	CHECK(lowest(top) == top - GROWN * PAGE, "it has not grown");
	deep(20, 1000);
	test_daemon();
	test_waitsig();
	CHECK(lowest(top) == top - GROWN * PAGE, "it begins %ld pages below its top",
	      (top - lowest(top)) / (long)PAGE);
	CHECK(has_flag(top - PAGE, "gd"), "it does not grow down");
	pages_check(top - GROWN * PAGE, GROWN, 100, "what has grown");
	sig = probe(top - (GROWN + 30) * PAGE, PROBE_WRITE);
	CHECK(!sig && lowest(top) == top - (GROWN + 30) * PAGE, "it does not grow by 30 pages: signal %d",
	      sig);
	pages_check(top - GROWN * PAGE, GROWN, 100, "what had grown before");
	zeros_check(top - (GROWN + 30) * PAGE, 30, "what is new");
	/* Down to the gap, but not into it. */
	sig = probe(room + (1 + GAP) * PAGE, PROBE_READ);
	CHECK(!sig, "there is no room above the gap: signal %d", sig);
	sig = probe(room + (GAP / 2) * PAGE, PROBE_READ);
	CHECK(sig == SIGSEGV, "it has grown into the gap: signal %d", sig);
	pages_check(neighbour, 1, 1, "the neighbour");
	/* The process's own, deeper than ever. */
	deep(400, 2000);
	pass();
}
