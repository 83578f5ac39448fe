/*
 * title: what nobody may touch has its contents, and what was never touched there has none
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

enum { KINDS = 3, PAGES = 8, SEED = 50 };
enum { ANONYMOUS, OF_FILE, RESERVED };

int main(int argc, char **argv)
{
	unsigned char *memory[KINDS], *end;
	int fd, sig;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	for (int i = 0; i < KINDS; i++)
		memory[i] = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mmap(memory[ANONYMOUS], PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0));
	SYS(mmap(memory[OF_FILE], PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0));
	SYS(close(fd));
	for (int i = 0; i < RESERVED; i++) {
		/* The first and third page; the others are untouched. */
		pages_fill(memory[i], 1, 10 * (uint32_t)i + 1);
		pages_fill(memory[i] + 2 * PAGE, 1, 10 * (uint32_t)i + 2);
		SYS(mprotect(memory[i], PAGES * PAGE, PROT_NONE));
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++) {
		for (int page = 0; page < PAGES; page++) {
			sig = probe(memory[i] + page * PAGE, PROBE_READ);
			CHECK(sig == SIGSEGV && probe_code == SEGV_ACCERR, "map %d, page %d: signal %d", i,
			      page, sig);
		}
		CHECK(pages_there(memory[i], PAGES) == (i == RESERVED ? 0 : 2), "map %d has %zu pages", i,
		      pages_there(memory[i], PAGES));
		SYS(mprotect(memory[i], PAGES * PAGE, RW));
		end = memory[i] + 3 * PAGE;
		if (i != RESERVED) {
			pages_check(memory[i], 1, 10 * (uint32_t)i + 1, "the first page");
			pages_check(memory[i] + 2 * PAGE, 1, 10 * (uint32_t)i + 2, "the third page");
		}
		if (i == OF_FILE)
			pages_check(end, PAGES - 3, SEED + 3, "of the file");
		else
			zeros_check(end, PAGES - 3, "untouched");
	}
	pass();
}
