/*
 * title: a child has put its namespace on a tmpfs
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_tmpfs("new");
	SYS(mkdir("new/old", 0755));
	SYS(mkdir("new/dir", 0755));
	write_file("new/dir/file", "in the new root");
	SYS(syscall(SYS_pivot_root, "new", "new/old"));
	SYS(chdir("/"));
	SYS(umount2("/old", MNT_DETACH));
}

static void check(void)
{
	check_file("/dir/file", "in the new root");
	check_absent("/scratch");
	write_file("/dir/file2", "after");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	mount_child_checks(&child);
	check_absent("new/dir");

	pass();
}
