/*
 * title: a tmpfs that was made read-only keeps its content
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	write_file("t/file", "written before");
	SYS(mount(NULL, "t", NULL, MS_REMOUNT | MS_RDONLY, NULL));

	test_daemon();
	test_waitsig();
	check_file("t/file", "written before");
	check_read_only("t");
	SYS(mount(NULL, "t", NULL, MS_REMOUNT, NULL));
	write_file("t/file", "written after");
	unmount("t");

	pass();
}
