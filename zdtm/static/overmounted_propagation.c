/*
 * title: what is mounted below a covered mount still propagates
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("a");
	propagation("a", MS_SHARED);
	SYS(mkdir("a/dir", 0755));
	new_bind("a", "b");
	SYS(mount("over", "a/dir", "tmpfs", 0, NULL));
	propagation("b/dir", MS_PRIVATE);
	write_file("a/dir/file", "over");
	SYS(mount("top", "b", "tmpfs", 0, NULL));

	test_daemon();
	test_waitsig();
	check_absent("b/dir");
	check_absent("a/dir");
	unmount("b");
	check_file("a/dir/file", "over");
	check_file("b/dir/file", "over");
	check_propagates("a", "b", true);
	check_propagates("b", "a", true);
	check_propagates("a/dir", "b/dir", false);
	unmount("a/dir");
	check_absent("a/dir/file");
	CHECK(!is_mount_point("b/dir"), "the peer's child is still there");

	pass();
}
