/*
 * title: a device whose node is gone is opened by another node of it, if that is asked for
 * flavours: host ns
 * flags: suid
 * dump: --evasive-devices
 */
#include <sys/sysmacros.h>

#include "files.h"

int main(int argc, char **argv)
{
	char byte = 1;
	int fd;

	test_init(argc, argv);
	SYS(mknod("node", S_IFCHR | 0600, makedev(1, 5)));
	fd = SYS(open("node", O_RDWR | O_APPEND));
	SYS(rename("node", "other"));
	SYS(mkdir("node", 0700));
	test_daemon();
	test_waitsig();
	CHECK(file_stat(fd).st_rdev == makedev(1, 5), "device %lx", (unsigned long)file_stat(fd).st_rdev);
	CHECK(read(fd, &byte, 1) == 1 && !byte, "it is not /dev/zero");
	CHECK(SYS(fcntl(fd, F_GETFL)) & O_APPEND, "its flags are gone");
	pass();
}
