/*
 * title: peers whose children are private, and a bind below them
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	new_bind("t", "peer");
	new_tmpfs("t/child");
	propagation("t/child", MS_PRIVATE);
	propagation("peer/child", MS_PRIVATE);
	new_tmpfs("t/child/below");
	SYS(mkdir("t/bind", 0755));
	bind_mount("t/child", "t/bind");

	test_daemon();
	test_waitsig();
	CHECK(is_mount_point("peer/bind"), "the bind did not propagate");
	CHECK(!is_mount_point("peer/child/below"), "a private child has got a mount");
	check_same_place("t/bind", "peer/child", true);
	unmount("t/child/below");
	unmount("t/child");
	unmount("t/bind");
	CHECK(!is_mount_point("peer/child"), "what its peer has lost is still there");
	unmount("peer");
	unmount("t");

	pass();
}
