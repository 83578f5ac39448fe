/*
 * title: guard regions within mappings fault still, what was behind them is gone, and can be put back
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

enum { KINDS = 3, PAGES = 16, SEED = 50 };
enum { ANONYMOUS, PRIVATE_FILE, SHARED_FILE };

static bool guarded(int page)
{
	return page == 0 || (page >= 4 && page < 7) || page == PAGES - 1;
}

int main(int argc, char **argv)
{
	static const int flags[] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};
	unsigned char *memory[KINDS];
	int fd, kinds, sig;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	for (kinds = 0; kinds < KINDS; kinds++) {
		unsigned char *at = map_nothing((PAGES + 2) * PAGE) + PAGE;

		memory[kinds] = at;
		SYS(mmap(at, PAGES * PAGE, RW, flags[kinds] | MAP_FIXED, kinds ? fd : -1, 0));
		/* Of the file's private mapping some pages are changed. */
		if (kinds == ANONYMOUS)
			pages_fill(at, PAGES, SEED);
		else if (kinds == PRIVATE_FILE)
			pages_fill(at + 8 * PAGE, 2, 100);
		if (madvise(at, PAGE, MADV_GUARD_INSTALL)) {
			if (!kinds)
				skip("this kernel has no guard regions");
			break; /* at first there were none in files */
		}
		for (int page = 1; page < PAGES; page++)
			if (guarded(page))
				SYS(madvise(at + page * PAGE, PAGE, MADV_GUARD_INSTALL));
	}
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	for (int i = 0; i < kinds; i++) {
		for (int page = 0; page < PAGES; page++) {
			unsigned char *at = memory[i] + page * PAGE;
			bool changed = i == PRIVATE_FILE && (page == 8 || page == 9);

			sig = probe(at, page % 2 ? PROBE_READ : PROBE_WRITE);
			CHECK(sig == (guarded(page) ? SIGSEGV : 0), "map %d, page %d: signal %d", i, page,
			      sig);
			if (!guarded(page))
				pages_check(at, 1, changed ? 92 + (uint32_t)page : SEED + (uint32_t)page,
					    "a page");
		}
		SYS(madvise(memory[i], PAGES * PAGE, MADV_GUARD_REMOVE));
		if (i == ANONYMOUS)
			zeros_check(memory[i] + 4 * PAGE, 3, "what was guarded");
		else
			pages_check(memory[i] + 4 * PAGE, 3, SEED + 4, "what was guarded");
	}
	pass();
}
