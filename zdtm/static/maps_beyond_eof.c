/*
 * title: a mapping beyond the end of its file raises SIGBUS there, until the file is that long
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

enum { KINDS = 2, PAGES = 8, IN_FILE = 3, SEED = 50, TAIL = 100 };

int main(int argc, char **argv)
{
	static const int flags[KINDS] = {MAP_PRIVATE, MAP_SHARED};
	unsigned char *memory[KINDS];
	int fd, sig;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	for (int i = 0; i < KINDS; i++)
		memory[i] = SYS(mmap(NULL, PAGES * PAGE, RW, flags[i], fd, 0));
	pages_fill(memory[0] + PAGE, 1, 100);
	pages_fill(memory[0] + 5 * PAGE, 1, 101); /* which is cut off with its file */
	/* The file ends within a page. */
	SYS(ftruncate(fd, (IN_FILE - 1) * PAGE + TAIL));
	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++)
		for (int page = 0; page < PAGES; page++) {
			sig = probe(memory[i] + page * PAGE, page % 2 ? PROBE_READ : PROBE_WRITE);
			CHECK(sig == (page < IN_FILE ? 0 : SIGBUS), "map %d, page %d: signal %d", i, page,
			      sig);
		}
	pages_check(memory[0] + PAGE, 1, 100, "changed");
	pages_check(memory[1], 2, SEED, "shared");
	for (int i = 0; i < KINDS; i++)
		for (unsigned long at = TAIL; at < PAGE; at++)
			CHECK(!memory[i][(IN_FILE - 1) * PAGE + at],
			      "map %d: byte %lu behind the end is not 0", i, at);
	SYS(ftruncate(fd, PAGES * PAGE));
	for (int i = 0; i < KINDS; i++)
		zeros_check(memory[i] + IN_FILE * PAGE, PAGES - IN_FILE, "what was appended");
	pass();
}
