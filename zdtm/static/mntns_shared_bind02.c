/*
 * title: a tmpfs is shared with a child's namespace, and bound in both
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_bind("t/dir", "child");
	propagation("child", MS_SLAVE);
	SYS(mount("from the child", "child", "tmpfs", 0, NULL));
	write_file("child/file", "covers the bind");
}

static void check(void)
{
	check_file("t/dir/m/file", "propagated");
	unmount("t/dir/m");
	check_file("child/file", "covers the bind");
	unmount("child");
	CHECK(!is_mount_point("child/m"), "it is gone, but not from the bind");
	unmount("child");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	SYS(mkdir("t/dir", 0755));
	child = mount_child(make, check);
	new_tmpfs("t/dir/m");
	write_file("t/dir/m/file", "propagated");

	test_daemon();
	test_waitsig();
	mount_child_checks(&child);
	CHECK(!is_mount_point("t/dir/m"), "the child has unmounted it in its namespace alone");
	check_absent("t/dir/file");
	unmount("t");

	pass();
}
