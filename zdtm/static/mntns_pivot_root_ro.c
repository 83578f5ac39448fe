/*
 * title: a child has put its namespace on a tmpfs that is read-only
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void make(void)
{
	new_tmpfs("new");
	SYS(mkdir("new/old", 0755));
	write_file("new/file", "in the new root");
	SYS(syscall(SYS_pivot_root, "new", "new/old"));
	SYS(chdir("/"));
	SYS(umount2("/old", MNT_DETACH));
	SYS(mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL));
}

static void check(void)
{
	check_file("/file", "in the new root");
	check_read_only("/");
	CHECK(open("/file", O_WRONLY) < 0 && errno == EROFS, "the file can be opened for writing: %s",
	      strerror(errno));
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
