/*
 * title: a directory that is a bind of another one
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("source", 0755));
	new_bind("source", "bind");

	test_daemon();
	test_waitsig();
	write_file("source/file", "through the source");
	check_file("bind/file", "through the source");
	unmount("bind");
	check_absent("bind/file");

	pass();
}
