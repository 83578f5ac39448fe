/*
 * title: a part of the shared root is bound in a child's namespace
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_bind("dir", "bind");
}

static void check(void)
{
	check_file("bind/t/file", "submount");
	check_file("dir/t/file", "submount");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	SYS(mount(NULL, "/", NULL, MS_SHARED, NULL));
	SYS(mkdir("dir", 0755));
	child = mount_child(make, check);
	new_tmpfs("dir/t");
	write_file("dir/t/file", "submount");

	test_daemon();
	test_waitsig();
	mount_child_checks(&child);
	unmount("dir/t");

	pass();
}
