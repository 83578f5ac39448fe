/*
 * title: a private mapping of a file follows it where it was not changed, and nowhere else
 * flavours: host ns userns
 */
#include "memory.h"

enum { PAGES = 64, SEED = 50 };

/* Read before, changed, changed to what is in the file, changed back, or left alone. */
enum { ALONE, READ, CHANGED, SAME, BACK, DEEDS };

int main(int argc, char **argv)
{
	unsigned char *memory, page[PAGE];
	int fd;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	memory = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE, fd, 0));
	SYS(close(fd));
	for (uint32_t i = 0; i < PAGES; i++) {
		volatile unsigned char *byte = memory + i * PAGE + i;

		switch (i % DEEDS) {
		case READ: (void)*byte; break;
		case CHANGED: pages_fill(memory + i * PAGE, 1, 1000 + i); break;
		case SAME: *byte = *byte; break;
		case BACK: *byte ^= 1, *byte ^= 1; break;
		}
	}
	test_daemon();
	test_waitsig();
	fd = SYS(open("file", O_RDWR | O_CLOEXEC));
	for (uint32_t i = 0; i < PAGES; i++) {
		CHECK(pread(fd, page, PAGE, i * (off_t)PAGE) == (ssize_t)PAGE && page_is(page, SEED + i),
		      "page %u of the file has changed", i);
		/* Half of them have been looked at when the file changes. */
		if (i < PAGES / 2)
			CHECK(page_is(memory + i * PAGE, i % DEEDS == CHANGED ? 1000 + i : SEED + i),
			      "page %u differs", i);
		test_fill(page, PAGE, 2000 + i);
		CHECK(pwrite(fd, page, PAGE, i * (off_t)PAGE) == (ssize_t)PAGE, "write: %m");
	}
	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t deed = i % DEEDS, seed = deed == ALONE || deed == READ ? 2000
						  : deed == CHANGED		? 1000
										: SEED;

		CHECK(page_is(memory + i * PAGE, seed + i), "page %u does not hold what %s", i,
		      seed == 2000 ? "its file does" : "was written to it");
	}
	pass();
}
