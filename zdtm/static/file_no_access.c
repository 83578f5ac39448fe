/*
 * title: a file that its owner may no longer open, or only to read, keeps the way it was opened
 * flavours: host ns userns
 */
#include "files.h"

int main(int argc, char **argv)
{
	int closed, reads, below;
	char byte = 'x';

	test_init(argc, argv);
	closed = file_make("closed", 100, 1);
	SYS(fchmod(closed, 0));
	reads = SYS(open("reads", O_WRONLY | O_CREAT | O_EXCL, 0600));
	SYS(fchmod(reads, 0400));
	SYS(mkdir("dir", 0700));
	below = file_make("dir/file", 100, 2);
	SYS(chmod("dir", 0));
	test_daemon();
	test_waitsig();
	file_holds(closed, 100, 1);
	CHECK(pwrite(closed, &byte, 1, 0) == 1, "it cannot be written to: %m");
	CHECK(write(reads, &byte, 1) == 1, "it cannot be written to: %m");
	CHECK(read(reads, &byte, 1) < 0 && errno == EBADF, "what was opened for writing can be read");
	file_holds(below, 100, 2);
	CHECK((file_stat(closed).st_mode & 07777) == 0, "mode %o", file_stat(closed).st_mode);
	SYS(chmod("dir", 0700));
	pass();
}
