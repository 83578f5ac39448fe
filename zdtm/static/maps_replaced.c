/*
 * title: mappings of a deleted file do not mix with another file that has its name now
 * flavours: host ns userns
 */
#include "memory.h"

#include <sys/stat.h>

enum { PAGES = 4, OLD = 50, NEW = 100, CHANGED = 200 };

int main(int argc, char **argv)
{
	unsigned char *own, *shared, *new, page[PAGE];
	struct stat file;
	int fd;

	test_init(argc, argv);
	fd = file_make("file", PAGES, OLD);
	own = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE, fd, 0));
	shared = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, fd, 0));
	SYS(close(fd));
	SYS(unlink("file"));
	fd = file_make("file", PAGES, NEW);
	new = SYS(mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0));
	SYS(close(fd));
	pages_fill(own, 1, CHANGED);
	test_daemon();
	test_waitsig();
	pages_check(own, 1, CHANGED, "changed");
	pages_check(own + PAGE, PAGES - 1, OLD + 1, "private");
	pages_check(shared, PAGES, OLD, "shared");
	pages_check(new, PAGES, NEW, "the other file");
	pages_fill(shared + PAGE, 1, CHANGED + 1);
	CHECK(page_is(own + PAGE, CHANGED + 1), "the mappings are not of one file");
	CHECK(page_is(new + PAGE, NEW + 1), "it was written to the other file");
	fd = SYS(open("file", O_RDONLY | O_CLOEXEC));
	SYS(fstat(fd, &file));
	CHECK(file.st_size == (off_t)(PAGES * PAGE) && file.st_nlink == 1, "the other file has changed");
	CHECK(read(fd, page, PAGE) == (ssize_t)PAGE && page_is(page, NEW),
	      "the other file holds something else");
	pass();
}
