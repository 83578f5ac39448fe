/*
 * title: a tmpfs that was read-only from the start
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("t", 0755));
	SYS(mount("t", "t", "tmpfs", MS_RDONLY, NULL));

	test_daemon();
	test_waitsig();
	check_read_only("t");
	unmount("t");

	pass();
}
