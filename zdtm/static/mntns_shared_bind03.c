/*
 * title: binds in groups of their own, as peers and as slaves, get what is mounted later
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	propagation("t", MS_SHARED);
	SYS(mkdir("t/dir", 0755));
	new_bind("t", "peer");
	new_bind("t/dir", "slave");
	propagation("slave", MS_SLAVE);
	new_bind("slave", "both");
	propagation("both", MS_SHARED);
	new_bind("both", "both2");
	new_bind("t", "own");
	propagation("own", MS_PRIVATE);
	propagation("own", MS_SHARED);

	test_daemon();
	test_waitsig();
	check_propagates("t", "peer", true);
	check_propagates("peer/dir", "slave", true);
	check_propagates("t/dir", "both", true);
	check_propagates("t/dir", "both2", true);
	check_propagates("both2", "both", true);
	check_propagates("both", "t/dir", false);
	check_propagates("slave", "t/dir", false);
	check_propagates("t", "own", false);
	check_propagates("own", "t", false);
	SYS(mkdir("again", 0755));
	bind_mount("own", "again");
	check_propagates("own", "again", true);

	pass();
}
