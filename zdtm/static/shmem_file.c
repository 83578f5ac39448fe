/*
 * title: a shared mapping of a file is the file, in parent and child, also where it was not written yet
 * flavours: host ns userns
 */
#include "child.h"
#include "memory.h"

enum { PAGES = 8, SEED = 50 };

int main(int argc, char **argv)
{
	unsigned char *memory, *offset, page[PAGE];
	pid_t child;
	int fd;

	test_init(argc, argv);
	fd = file_make("file", PAGES, SEED);
	memory = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, fd, 0));
	SYS(close(fd));
	child = child_fork();
	if (!child) {
		fd = SYS(open(test_path("file"), O_RDWR | O_CLOEXEC));
		offset = SYS(mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 3 * PAGE));
		SYS(close(fd));
		pages_fill(offset, 1, 100);
		child_wait();
		CHECK(page_is(memory, 200), "the child does not see what its parent wrote");
		pages_fill(offset + PAGE, 1, 300);
		_exit(0);
	}
	child_await();
	pages_fill(memory + PAGE, 1, 101);
	test_daemon();
	test_waitsig();
	pages_check(memory, 1, SEED, "untouched");
	pages_check(memory + PAGE, 1, 101, "written");
	pages_check(memory + 3 * PAGE, 1, 100, "written by the child");
	pages_fill(memory, 1, 200);
	child_go();
	test_reap(child);
	pages_check(memory + 4 * PAGE, 1, 300, "written by the child now");
	/* The file follows the mapping, and the mapping the file. */
	fd = SYS(open("file", O_RDWR | O_CLOEXEC));
	CHECK(read(fd, page, PAGE) == (ssize_t)PAGE && page_is(page, 200), "the file has not changed");
	test_fill(page, PAGE, 400);
	CHECK(pwrite(fd, page, PAGE, 6 * PAGE) == (ssize_t)PAGE, "write: %m");
	pages_check(memory + 6 * PAGE, 1, 400, "written to the file");
	pass();
}
