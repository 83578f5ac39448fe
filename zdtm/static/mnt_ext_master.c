/*
 * title: a mount that is a slave of one outside, and one that shares with others besides
 * flavours: ns userns
 * flags: suid
 * opts: --ext-mount-map auto --enable-external-masters
 * needs: mnt_id
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("slave", 0755));
	SYS(mkdir("both", 0755));
	SYS(mkdir("peer", 0755));
	test_outside();
	propagation("slave", MS_SLAVE);
	bind_mount("slave", "both");
	propagation("both", MS_SHARED);
	bind_mount("both", "peer");

	test_daemon();
	test_waitsig();
	check_propagates("both", "peer", true);
	check_propagates("peer", "slave", false);
	check_propagates("slave", "both", false);
	unmount("peer");
	unmount("both");
	unmount("slave");

	pass();
}
