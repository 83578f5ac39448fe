/*
 * title: a group that decides who may open files would have to let the dump do so: refused
 * flavours: host ns
 * flags: suid crfail
 */
#include "fanotify.h"

int main(int argc, char **argv)
{
	int fd;

	test_init(argc, argv);
	SYS(mkdir("dir", 0700));
	fd = SYS(fanotify_init(FAN_NONBLOCK | FAN_CLASS_CONTENT, O_RDONLY));
	mark(fd, 0, FAN_OPEN_PERM, "dir");
	test_daemon();
	test_waitsig();
	CHECK(fdinfo_count(fd, "mask:10000 ") == 1, "it has lost its mark");
	pass();
}
