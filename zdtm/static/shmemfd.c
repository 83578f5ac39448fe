/*
 * title: shared anonymous memory that was opened as a file is one with its descriptor
 * flavours: host ns
 * flags: suid
 */
#include "memory.h"

#include <sys/stat.h>
#include <sys/vfs.h>

enum { PAGES = 16, POSITION = 5000 };

int main(int argc, char **argv)
{
	unsigned char *memory, page[PAGE];
	struct statfs fs, fs_now;
	struct stat mapped, opened;
	int fd, other, flags;

	test_init(argc, argv);
	memory = map_anonymous(PAGES * PAGE, MAP_SHARED);
	pages_fill(memory, PAGES / 2, 1);
	fd = map_files_open(memory, PAGES * PAGE, O_RDWR | O_APPEND);
	SYS(lseek(fd, POSITION, SEEK_SET));
	SYS(fstatfs(fd, &fs));
	flags = SYS(fcntl(fd, F_GETFL));
	test_daemon();
	test_waitsig();
	CHECK(SYS(fcntl(fd, F_GETFL)) == flags, "flags %#o instead of %#o", fcntl(fd, F_GETFL), flags);
	CHECK(SYS(fcntl(fd, F_GETFD)) == FD_CLOEXEC, "the descriptor is not closed on exec");
	CHECK(SYS(lseek(fd, 0, SEEK_CUR)) == POSITION, "position %ld", lseek(fd, 0, SEEK_CUR));
	SYS(fstatfs(fd, &fs_now));
	CHECK(fs.f_type == fs_now.f_type, "file system %#lx instead of %#lx", fs_now.f_type, fs.f_type);
	pages_check(memory, PAGES / 2, 1, "memory");
	zeros_check(memory + PAGES / 2 * PAGE, PAGES / 2, "the rest");
	for (off_t i = 0; i < PAGES / 2; i++)
		CHECK(pread(fd, page, PAGE, i * (off_t)PAGE) == (ssize_t)PAGE &&
			      page_is(page, 1 + (uint32_t)i),
		      "page %ld of the file differs", i);
	other = map_files_open(memory, PAGES * PAGE, O_RDONLY);
	SYS(fstat(other, &mapped));
	SYS(fstat(fd, &opened));
	CHECK(mapped.st_ino == opened.st_ino && mapped.st_dev == opened.st_dev, "they are two files");
	CHECK(opened.st_size == (off_t)(PAGES * PAGE), "%ld bytes", opened.st_size);
	pages_fill(memory + PAGE, 1, 100);
	CHECK(pread(fd, page, PAGE, PAGE) == (ssize_t)PAGE && page_is(page, 100), "they do not share a page");
	pass();
}
