/*
 * title: a directory of the root's own file system from outside of it, a slave of a shared mount
 * flavours: ns userns
 * flags: suid
 * dump: --external mnt[/scratch/ext]:DIRECTORY
 * needs: mnt_id
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("ext", 0755));
	new_bind("/tmp", "tmp");
	test_outside();
	propagation("ext", MS_SLAVE);

	test_daemon();
	test_waitsig();
	check_file("ext/file", "outside");
	check_same_place("/tmp", "tmp", true);
	check_same_place("ext", "tmp", false);
	unmount("ext");
	unmount("tmp");

	pass();
}
