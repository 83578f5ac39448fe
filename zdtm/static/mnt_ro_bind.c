/*
 * title: a read-only bind of a tmpfs that can be written to
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	new_bind("t", "bind");
	mount_flags("bind", MS_RDONLY);

	test_daemon();
	test_waitsig();
	check_read_only("bind");
	write_file("t/file", "written");
	check_file("bind/file", "written");
	unmount("bind");
	unmount("t");

	pass();
}
