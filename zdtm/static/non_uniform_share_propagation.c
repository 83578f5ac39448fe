/*
 * title: children of a shared tmpfs, made before and after it was bound inside of itself
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	new_tmpfs("t/before");
	SYS(mkdir("t/self", 0755));
	new_bind("t", "bind");
	bind_mount("t", "t/self");
	new_tmpfs("t/after");

	test_daemon();
	test_waitsig();
	CHECK(is_mount_point("bind/after"), "a child is not in the bind");
	CHECK(is_mount_point("t/self/after"), "a child is not in the bind inside");
	CHECK(!is_mount_point("bind/before"), "a child from before is in the bind");
	unmount("t/after");
	CHECK(!is_mount_point("bind/after"), "the child is still in the bind");
	unmount("t/before");
	unmount("t/self");
	unmount("bind");
	unmount("t");

	pass();
}
