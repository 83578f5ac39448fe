/*
 * title: a single file that is mounted from outside, told by itself, and a bind of it
 * flavours: ns userns
 * flags: suid
 * opts: --external mnt[]
 * needs: mnt_id
 */
#include "mount.h"

int main(int argc, char **argv)
{
	struct stat before, now;

	test_init(argc, argv);
	write_file("file", "inside");
	write_file("copy", "inside");
	test_outside();
	bind_mount("file", "copy");
	SYS(stat("file", &before));

	test_daemon();
	test_waitsig();
	check_file("file", "outside");
	SYS(stat("copy", &now));
	CHECK(now.st_ino == before.st_ino && now.st_dev == before.st_dev, "the bind is of another file");
	unmount("copy");
	unmount("file");
	check_file("file", "inside");
	check_file("copy", "inside");

	pass();
}
