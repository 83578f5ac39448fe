/*
 * title: the root of the tree is read-only, what is mounted there is not
 * flavours: ns userns
 * flags: suid scratch
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("/below", 0755));
	mount_flags("/", MS_RDONLY);

	test_daemon();
	test_waitsig();
	check_read_only("/");
	check_read_only("/below");
	write_file("/scratch/file", "written");
	check_file("file", "written");
	mount_flags("/", 0);
	SYS(rmdir("/below"));

	pass();
}
