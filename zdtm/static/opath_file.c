/*
 * title: a file opened with O_PATH stays a mere path
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat opened, named;
	char byte;
	int fd;

	test_init(argc, argv);
	SYS(close(SYS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600))));
	fd = SYS(open("file", O_PATH));
	test_daemon();
	test_waitsig();
	CHECK(fcntl(fd, F_GETFL) & O_PATH, "O_PATH is gone");
	CHECK(read(fd, &byte, 1) < 0 && errno == EBADF, "a mere path can be read");
	SYS(fstat(fd, &opened));
	SYS(stat("file", &named));
	CHECK(opened.st_ino == named.st_ino && opened.st_dev == named.st_dev, "another file");
	pass();
}
