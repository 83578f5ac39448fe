/*
 * title: in a child's namespace, mounts whose parents or children are covered
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_tmpfs("parent");
	SYS(mkdir("parent/child", 0755));
	SYS(mount("child", "parent/child", "tmpfs", 0, NULL));
	write_file("parent/child/file", "in the child");
	SYS(mount("cover", "parent", "tmpfs", 0, NULL));
	SYS(mkdir("parent/child", 0755));
	write_file("parent/child/file", "in the cover");
	new_bind("parent/child", "bind");
	SYS(mount("cover2", "bind", "tmpfs", 0, NULL));
	write_file("bind/file", "over the bind");
}

static void check(void)
{
	check_file("bind/file", "over the bind");
	unmount("bind");
	check_file("bind/file", "in the cover");
	check_file("parent/child/file", "in the cover");
	unmount("bind");
	unmount("parent");
	check_file("parent/child/file", "in the child");
	unmount("parent/child");
	check_absent("parent/child/file");
	unmount("parent");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	check_absent("parent/child");
	mount_child_checks(&child);

	pass();
}
