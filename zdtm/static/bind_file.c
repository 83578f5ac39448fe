/*
 * title: binds of a single file, one of them read-only
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	write_file("t/one", "one");
	write_file("t/two", "two");
	write_file("three", "three");
	bind_mount("t/one", "three");
	bind_mount("three", "t/two");
	mount_flags("t/two", MS_RDONLY);

	test_daemon();
	test_waitsig();
	write_file("three", "changed");
	check_file("t/one", "changed");
	check_file("t/two", "changed");
	CHECK(open("t/two", O_WRONLY) < 0 && errno == EROFS, "the read-only bind: %s", strerror(errno));
	unmount("t/two");
	unmount("three");
	check_file("t/two", "two");
	check_file("three", "three");

	pass();
}
