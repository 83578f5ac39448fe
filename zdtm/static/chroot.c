/*
 * title: a task that has another root keeps it, and its files there, by name and by descriptor
 * flavours: host ns userns
 * flags: suid
 */
#include "child.h"
#include "files.h"

enum { SIZE = 10000 };

int main(int argc, char **argv)
{
	struct stat below, above;
	pid_t pid;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("root", 0755));
	SYS(mkdir("root/dir", 0755));
	pid = child_fork();
	if (!pid) {
		SYS(chroot("root"));
		SYS(chdir("/dir"));
		fd = file_make("/file", SIZE, 1);
		child_wait();
		file_holds(fd, SIZE, 1);
		CHECK(file_same(fd, SYS(open("/file", O_RDONLY))), "another file");
		CHECK(file_same(fd, SYS(open("../file", O_RDONLY))), "another directory");
		SYS(stat("/", &below));
		SYS(stat("/..", &above));
		CHECK(below.st_ino == above.st_ino && below.st_dev == above.st_dev, "the root has a parent");
		SYS(close(SYS(open("/made", O_RDWR | O_CREAT | O_EXCL, 0600))));
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(pid);
	SYS(access("root/made", F_OK));
	file_holds(SYS(open("root/file", O_RDONLY)), SIZE, 1);
	pass();
}
