/*
 * title: tmpfs over each other, and over the directories that others are mounted in
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("a");
	write_file("a/file", "a, first");
	SYS(mkdir("a/b", 0755));
	SYS(mount("b", "a/b", "tmpfs", 0, NULL));
	write_file("a/b/file", "b, first");
	SYS(mount("b2", "a/b", "tmpfs", 0, NULL));
	write_file("a/b/file", "b, second");
	SYS(mkdir("a/b/c", 0755));
	SYS(mount("c", "a/b/c", "tmpfs", 0, NULL));
	write_file("a/b/c/file", "c");
	SYS(mount("a2", "a", "tmpfs", 0, NULL));
	write_file("a/file", "a, second");
	SYS(mkdir("a/b", 0755));
	SYS(mount("b3", "a/b", "tmpfs", 0, NULL));
	write_file("a/b/file", "b, third");
	SYS(mount("a3", "a", "tmpfs", 0, NULL));
	write_file("a/file", "a, third");

	test_daemon();
	test_waitsig();
	check_file("a/file", "a, third");
	check_absent("a/b");
	unmount("a");
	check_file("a/b/file", "b, third");
	unmount("a/b");
	check_file("a/file", "a, second");
	unmount("a");
	check_file("a/file", "a, first");
	check_file("a/b/c/file", "c");
	unmount("a/b/c");
	check_file("a/b/file", "b, second");
	unmount("a/b");
	check_file("a/b/file", "b, first");
	unmount("a/b");
	check_absent("a/b/file");
	unmount("a");

	pass();
}
