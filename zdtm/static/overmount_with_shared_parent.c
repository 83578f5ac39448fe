/*
 * title: a bind over a part of a shared mount, and one inside of it
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	SYS(mkdir("t/a", 0755));
	SYS(mkdir("t/a/b", 0755));
	SYS(mkdir("t/other", 0755));
	SYS(mkdir("t/other/b", 0755));
	write_file("t/other/b/file", "of the other");
	bind_mount("t/other", "t/a");
	new_bind("t", "peer");
	bind_mount("t/other/b", "t/a/b");

	test_daemon();
	test_waitsig();
	check_file("t/a/b/file", "of the other");
	unmount("t/a/b");
	unmount("t/a");
	check_absent("t/a/b/file");
	check_propagates("t", "peer", true);
	unmount("peer");
	unmount("t");

	pass();
}
