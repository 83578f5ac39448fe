/*
 * title: parts of the shared root are bound in a child's namespace and in the test's
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	propagation("/", MS_PRIVATE);
	new_bind("dir", "bind");
}

static void check(void)
{
	CHECK(!is_mount_point("dir/t"), "a private copy got a mount");
	CHECK(!is_mount_point("bind/t"), "a bind of a private copy got a mount");
	check_absent("sibling/dir");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	SYS(mount(NULL, "/", NULL, MS_SHARED, NULL));
	SYS(mkdir("dir", 0755));
	child = mount_child(make, check);
	new_bind("/scratch", "sibling");
	new_tmpfs("dir/t");
	write_file("dir/t/file", "submount");

	test_daemon();
	test_waitsig();
	check_file("sibling/dir/t/file", "submount");
	mount_child_checks(&child);
	unmount("sibling/dir/t");
	CHECK(!is_mount_point("dir/t"), "it is gone from one of two peers");

	pass();
}
