/*
 * title: a memory file with seals and an open descriptor has both still, and its mapping with it
 * flavours: host ns userns
 */
#include "memory.h"

#include <sys/stat.h>

enum { PAGES = 8, POSITION = 777 };

int main(int argc, char **argv)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	unsigned char *memory, page[PAGE];
	int fd, whole, empty;
	struct stat file;

	test_init(argc, argv);
	fd = SYS(memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	SYS(ftruncate(fd, PAGES * PAGE));
	memory = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, fd, 0));
	pages_fill(memory, PAGES, 1);
	SYS(fcntl(fd, F_ADD_SEALS, seals));
	SYS(fchmod(fd, 0640));
	SYS(lseek(fd, POSITION, SEEK_SET));
	/* One that nobody may write any more, and whose seals may still grow. */
	whole = SYS(memfd_create("whole", MFD_ALLOW_SEALING));
	CHECK(write(whole, memory, PAGE) == (ssize_t)PAGE, "write: %m");
	SYS(fcntl(whole, F_ADD_SEALS, F_SEAL_WRITE));
	/* One that takes no seals. */
	empty = SYS(memfd_create("", 0));
	test_daemon();
	test_waitsig();
	CHECK(SYS(fcntl(fd, F_GET_SEALS)) == seals, "seals %#x", fcntl(fd, F_GET_SEALS));
	CHECK(SYS(fcntl(whole, F_GET_SEALS)) == F_SEAL_WRITE, "other seals %#x", fcntl(whole, F_GET_SEALS));
	CHECK(SYS(fcntl(empty, F_GET_SEALS)) == F_SEAL_SEAL, "third seals %#x", fcntl(empty, F_GET_SEALS));
	CHECK(SYS(fcntl(fd, F_GETFD)) == FD_CLOEXEC && !SYS(fcntl(whole, F_GETFD)), "close-on-exec");
	CHECK(SYS(lseek(fd, 0, SEEK_CUR)) == POSITION && SYS(lseek(whole, 0, SEEK_CUR)) == (off_t)PAGE,
	      "positions");
	SYS(fstat(fd, &file));
	CHECK((file.st_mode & 0777) == 0640 && file.st_size == (off_t)(PAGES * PAGE), "mode %o, %ld bytes",
	      file.st_mode, file.st_size);
	CHECK(ftruncate(fd, 0) == -1 && errno == EPERM, "it can be shortened");
	CHECK(write(whole, page, 1) == -1 && errno == EPERM, "it can be written");
	pages_check(memory, PAGES, 1, "mapped");
	CHECK(pread(whole, page, PAGE, 0) == (ssize_t)PAGE && page_is(page, 1),
	      "the other holds something else");
	pages_fill(memory + PAGE, 1, 100);
	CHECK(pread(fd, page, PAGE, PAGE) == (ssize_t)PAGE && page_is(page, 100),
	      "mapping and descriptor are two");
	SYS(fcntl(whole, F_ADD_SEALS, F_SEAL_SEAL));
	SYS(ftruncate(empty, PAGE));
	pass();
}
