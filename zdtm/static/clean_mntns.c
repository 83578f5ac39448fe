/*
 * title: a namespace without /proc
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	unmount("/proc");

	test_daemon();
	test_waitsig();
	check_absent("/proc/self");

	pass();
}
