/*
 * title: a mount that refuses to be bound
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	SYS(mkdir("t/dir", 0755));
	new_bind("t/dir", "bind");
	write_file("t/file", "unbindable");
	propagation("t", MS_UNBINDABLE);
	SYS(mkdir("refused", 0755));

	test_daemon();
	test_waitsig();
	CHECK(mount("t", "refused", NULL, MS_BIND, NULL) < 0 && errno == EINVAL, "it can be bound: %s",
	      strerror(errno));
	check_file("t/file", "unbindable");
	check_same_place("t/dir", "bind", true);
	unmount("bind");
	unmount("t");

	pass();
}
