/*
 * title: the root is shared with a child's namespace, and bound in both
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_bind("dir", "child");
}

static void check(void)
{
	CHECK(is_mount_point("dir/t"), "the test's mount is not in the child's namespace");
	check_file("dir/t/file", "propagated");
	check_file("child/t/file", "propagated");
	unmount("dir/t");
	CHECK(!is_mount_point("child/t"), "it is gone, but not from the bind");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	SYS(mount(NULL, "/", NULL, MS_SHARED, NULL));
	SYS(mkdir("dir", 0755));
	child = mount_child(make, check);
	new_tmpfs("dir/t");
	write_file("dir/t/file", "propagated");

	test_daemon();
	test_waitsig();
	check_file("child/t/file", "propagated");
	mount_child_checks(&child);
	CHECK(!is_mount_point("dir/t"), "the child has unmounted it in its namespace alone");
	unmount("child");

	pass();
}
