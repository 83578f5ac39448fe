/*
 * title: a mount from outside below a mount of the tree, and a bind of the whole of it further up
 * flavours: ns userns
 * flags: suid
 * dump: --external mnt[/scratch/deep/below/ext]:VOLUME
 * needs: mnt_id
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("deep");
	new_tmpfs("deep/below");
	SYS(mkdir("deep/below/ext", 0755));
	SYS(mkdir("up", 0755));
	test_outside();
	bind_mount("deep/below/ext", "up");

	test_daemon();
	test_waitsig();
	check_file("up/file", "outside");
	check_same_place("up", "deep/below/ext", true);
	unmount("up");
	check_file("deep/below/ext/file", "outside");
	unmount("deep/below/ext");
	unmount("deep/below");
	unmount("deep");

	pass();
}
