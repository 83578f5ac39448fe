/*
 * title: a shared mount, one that is its slave and shared too, a peer, and what was mounted in it
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	new_bind("t", "slave");
	propagation("slave", MS_SLAVE);
	propagation("slave", MS_SHARED);
	new_bind("slave", "peer");
	new_tmpfs("t/one");
	new_tmpfs("peer/two");

	test_daemon();
	test_waitsig();
	CHECK(is_mount_point("slave/one") && is_mount_point("peer/one"),
	      "the master's child is not in the slaves");
	CHECK(is_mount_point("slave/two") && !is_mount_point("t/two"),
	      "the peer's child is in the wrong place");
	check_propagates("t", "peer", true);
	check_propagates("peer", "slave", true);
	check_propagates("slave", "t", false);
	unmount("peer/two");
	unmount("t/one");
	CHECK(!is_mount_point("peer/one"), "the master's child is still there");
	unmount("peer");
	unmount("slave");
	unmount("t");

	pass();
}
