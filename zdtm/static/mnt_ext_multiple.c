/*
 * title: two directories of one mount from outside, each by its own key; one comes from elsewhere later
 * flavours: ns userns
 * flags: suid
 * dump: --external mnt[/scratch/a]:MNT_A --external mnt[/scratch/b]:MNT_B
 * needs: mnt_id
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("a", 0755));
	SYS(mkdir("b", 0755));
	SYS(mkdir("part", 0755));
	test_outside();
	bind_mount("a/part", "part");

	test_daemon();
	test_waitsig();
	check_file("a/name", "a");
	check_file("b/name", "other");
	check_same_place("a/part", "part", true);
	check_absent("a/b");
	check_absent("b/a");
	unmount("part");
	unmount("b");
	unmount("a");

	pass();
}
