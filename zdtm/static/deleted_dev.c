/*
 * title: an open device node that was removed is the same device still, without a name
 * flavours: host ns
 * flags: suid
 */
#include <sys/sysmacros.h>

#include "files.h"

int main(int argc, char **argv)
{
	struct stat st;
	char byte = 1;
	int fd;

	test_init(argc, argv);
	SYS(mknod("null", S_IFCHR | 0600, makedev(1, 3)));
	SYS(chmod("null", 0606));
	fd = SYS(open("null", O_RDWR));
	SYS(unlink("null"));
	test_daemon();
	test_waitsig();
	st = file_stat(fd);
	CHECK(S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0606, "mode %o", st.st_mode);
	CHECK(st.st_rdev == makedev(1, 3), "device %lx", (unsigned long)st.st_rdev);
	file_links(fd, 0);
	file_absent("null");
	CHECK(write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 0, "it is not /dev/null");
	pass();
}
