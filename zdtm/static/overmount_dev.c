/*
 * title: an open device node that a mount covers is open afterwards, and covered
 * flavours: ns
 * flags: suid
 */
#include <sys/sysmacros.h>

#include "overmount.h"

int main(int argc, char **argv)
{
	int fd;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	SYS(mknod("dir/dev", S_IFCHR | 0600, makedev(1, 3)));
	fd = overmount("dir/dev", O_RDWR);
	test_daemon();
	test_waitsig();
	overmounted("dir/dev", fd, S_IFCHR);
	pass();
}
