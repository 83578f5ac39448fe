/*
 * title: a private mount in a shared root, and two more namespaces
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void check(void)
{
	check_file("t/file", "private");
	CHECK(is_mount_point("t/below"), "the copy of what is below the private mount is gone");
	check_file("t/below/file", "below");
}

int main(int argc, char **argv)
{
	struct mount_child child[2];

	test_init(argc, argv);
	SYS(mount(NULL, "/", NULL, MS_SHARED, NULL));
	new_tmpfs("t");
	propagation("t", MS_PRIVATE);
	write_file("t/file", "private");
	new_tmpfs("t/below");
	write_file("t/below/file", "below");
	child[0] = mount_child(NULL, check);
	child[1] = mount_child(NULL, check);

	test_daemon();
	test_waitsig();
	unmount("t/below");
	mount_child_checks(child);
	mount_child_checks(child + 1);
	unmount("t");

	pass();
}
