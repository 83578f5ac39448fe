/*
 * title: files on mounts that are in no namespace: unmounted lazily, or made by open_tree(2)
 * flavours: ns userns
 * flags: suid
 */
#include "files.h"
#include "mount.h"

int main(int argc, char **argv)
{
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	int tree, in_tree, lazy, directory, name;

	test_init(argc, argv);
	new_tmpfs("t");
	SYS(mkdir("t/dir", 0755));
	SYS(mkdir("t/dir/below", 0755));
	SYS(mkdir("on", 0755));
	SYS(close(file_make("t/dir/file", 100, 1)));
	SYS(close(file_make("t/dir/below/file", 100, 2)));
	tree = SYS(open_tree(AT_FDCWD, "t/dir", OPEN_TREE_CLONE | O_CLOEXEC));
	SYS(mount_setattr(tree, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)));
	in_tree = SYS(openat(tree, "file", O_RDONLY));
	SYS(lseek(in_tree, 30, SEEK_SET));
	new_bind("t", "bind");
	lazy = SYS(open("bind/dir/below/file", O_RDWR));
	directory = SYS(open("bind/dir", O_RDONLY | O_DIRECTORY));
	SYS(umount2("bind", MNT_DETACH));

	test_daemon();
	test_waitsig();
	name = SYS(open("t/dir/file", O_RDONLY));
	CHECK(file_same(in_tree, name), "another file in the tree");
	CHECK(lseek(in_tree, 0, SEEK_CUR) == 30, "position %ld", lseek(in_tree, 0, SEEK_CUR));
	CHECK(openat(tree, "file", O_WRONLY) < 0 && errno == EROFS, "it can be written to");
	SYS(close(name));
	name = SYS(open("t/dir/below/file", O_RDONLY));
	CHECK(file_same(lazy, name), "another file that was unmounted");
	SYS(pwrite(lazy, "written", 7, 0));
	SYS(close(name));
	name = SYS(openat(directory, "below/file", O_RDWR));
	CHECK(file_same(lazy, name), "another directory that was unmounted");
	CHECK(faccessat(directory, "../dir/file", F_OK, 0) == 0, "what is above it: %m");
	SYS(move_mount(tree, "", AT_FDCWD, "on", MOVE_MOUNT_F_EMPTY_PATH));
	check_read_only("on");
	name = SYS(open("on/file", O_RDONLY));
	CHECK(file_same(in_tree, name), "another tree");
	check_absent("bind/dir");

	pass();
}
