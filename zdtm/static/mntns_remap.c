/*
 * title: binds inside of each other, one moved over its source, in two namespaces
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void check(void)
{
	check_file("a/over/file", "of the source");
	check_file("moved/file", "of the source");
	check_file("c/file", "shared with the test");
	check_absent("a/file");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	new_tmpfs("a");
	propagation("a", MS_SHARED);
	SYS(mkdir("a/dir", 0755));
	SYS(mkdir("a/dir/over", 0755));
	write_file("a/file", "covered");
	new_bind("a", "b");
	propagation("b", MS_SLAVE);
	SYS(mkdir("from", 0755));
	SYS(mount("from", "from", "tmpfs", 0, NULL));
	SYS(mkdir("from/over", 0755));
	write_file("from/over/file", "of the source");
	new_bind("from/over", "moved");
	propagation("a", MS_PRIVATE);
	SYS(mount("from", "a", NULL, MS_MOVE, NULL));
	new_tmpfs("c");
	propagation("c", MS_SHARED);
	child = mount_child(NULL, check);
	SYS(mount("later", "c", "tmpfs", 0, NULL));
	write_file("c/file", "shared with the test");
	SYS(umount("b"));
	test_daemon();
	test_waitsig();
	mount_child_checks(&child);
	unmount("a");
	check_file("a/file", "covered");
	check_file("moved/file", "of the source");
	pass();
}
