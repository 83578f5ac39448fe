/*
 * title: contents, mode and modification time of a file that is open and deleted
 * flavours: host ns userns
 */
#include "files.h"

enum { SIZE = 1000000, MODE = 0356 };

int main(int argc, char **argv)
{
	/* Whole microseconds. */
	const struct timespec times[2] = {{1234567, 765000}, {12345678, 123456000}};
	struct stat st;
	int fd;

	test_init(argc, argv);
	fd = file_make("file", SIZE, 3);
	SYS(fchmod(fd, MODE));
	SYS(futimens(fd, times));
	SYS(unlink("file"));
	test_daemon();
	test_waitsig();
	file_absent("file");
	file_links(fd, 0);
	st = file_stat(fd);
	CHECK((st.st_mode & 07777) == MODE, "mode %o", st.st_mode);
	CHECK(st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec,
	      "modified at %ld.%09ld", (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	file_position(fd, SIZE);
	file_holds(fd, SIZE, 3);
	pass();
}
