/*
 * title: a file is open through two mount namespaces
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static int inherited;

static int mount_of(int fd)
{
	struct statx st;

	SYS(statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st));
	return st.stx_mnt_id;
}

static void check(void)
{
	int own = SYS(open("t/file", O_RDWR | O_CLOEXEC));

	CHECK(mount_of(own) != mount_of(inherited), "both are in the child's namespace");
	CHECK(write(inherited, "XX", 2) == 2, "the inherited file cannot be written to: %s", strerror(errno));
	check_file("t/file", "XXfile");
}

int main(int argc, char **argv)
{
	struct mount_child child;
	int again;

	test_init(argc, argv);
	new_tmpfs("t");
	write_file("t/file", "a file");
	inherited = SYS(open("t/file", O_RDWR | O_CLOEXEC));
	child = mount_child(NULL, check);

	test_daemon();
	test_waitsig();
	again = SYS(open("t/file", O_RDWR | O_CLOEXEC));
	CHECK(mount_of(inherited) == mount_of(again), "the file is in another mount than its name");
	mount_child_checks(&child);

	pass();
}
