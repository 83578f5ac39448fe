/*
 * title: a mount from outside on a path where another namespace of the tree has a file system of its own
 * flavours: ns userns
 * flags: suid
 * dump: --external mnt[/scratch/ext]:VOLUME
 * needs: mnt_id
 */
#include "mount.h"

static void make(void)
{
	propagation("/", MS_PRIVATE | MS_REC);
	unmount("ext");
	SYS(mount("own", "ext", "tmpfs", 0, NULL));
	write_file("ext/file", "the child's");
}

static void check(void)
{
	check_file("ext/file", "the child's");
	unmount("ext");
	check_absent("ext/file");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	SYS(mkdir("ext", 0755));
	test_outside();
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	check_file("ext/file", "outside");
	mount_child_checks(&child);
	check_file("ext/file", "outside");

	pass();
}
