/*
 * title: a removed directory that is open and current is one directory still
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat opened, current;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	fd = SYS(open("dir", O_RDONLY | O_DIRECTORY));
	SYS(chdir("dir"));
	SYS(rmdir("../dir"));
	test_daemon();
	test_waitsig();
	SYS(fstat(fd, &opened));
	SYS(stat(".", &current));
	CHECK(opened.st_ino == current.st_ino && opened.st_dev == current.st_dev, "two directories");
	CHECK(opened.st_nlink == 0, "the removed directory has %lu links", (unsigned long)opened.st_nlink);
	pass();
}
