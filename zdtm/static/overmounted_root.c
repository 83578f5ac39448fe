/*
 * title: another file system lies over the root of the namespace
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static int under;

static void make(void)
{
	under = SYS(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
	write_file("below", "below");
	SYS(mount("over", "/", "tmpfs", 0, "mode=700"));
}

static void check(void)
{
	check_file("below", "below");
	SYS(fchdir(under));
	check_file("below", "below");
	check_file("/scratch/below", "below");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	mount_child_checks(&child);

	pass();
}
