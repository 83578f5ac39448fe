/*
 * title: of a file's shared mapping one half is read-only now and may be made writable, as the file allows it
 * flavours: host ns userns
 */
#include "memory.h"
#include "probe.h"

enum { PAGES = 4 };

int main(int argc, char **argv)
{
	unsigned char *memory, *other, *upper, page[PAGE];
	int fd, read_only;

	test_init(argc, argv);
	fd = file_make("file", PAGES, 1);
	memory = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, fd, 0));
	upper = memory + PAGES / 2 * PAGE;
	SYS(mprotect(memory, PAGES / 2 * PAGE, PROT_READ));
	/* Of a file that was not opened for writing. */
	read_only = SYS(open("file", O_RDONLY | O_CLOEXEC));
	other = SYS(mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, read_only, 0));
	SYS(close(read_only));
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	pages_check(memory, PAGES, 1, "the file");
	CHECK(probe(memory, PROBE_WRITE) == SIGSEGV, "the first half can be written");
	pages_fill(upper, 1, 100);
	SYS(mprotect(memory, PAGES / 2 * PAGE, RW));
	pages_fill(memory, 1, 200);
	CHECK(mprotect(other, PAGE, RW) == -1 && errno == EACCES,
	      "a mapping of a file that was opened for reading alone can be made writable");
	CHECK(page_is(other, 200) && page_is(other + PAGES / 2 * PAGE, 100),
	      "the mappings are not of one file");
	fd = SYS(open("file", O_RDONLY | O_CLOEXEC));
	CHECK(pread(fd, page, PAGE, 0) == (ssize_t)PAGE && page_is(page, 200), "the file has not changed");
	pass();
}
