/*
 * title: the root of a child's namespace is read-only
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	SYS(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
}

static void check(void)
{
	check_read_only("/");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	write_file("/file", "the test's own root");
	mount_child_checks(&child);

	pass();
}
