/*
 * title: binds of a directory and of files that were deleted since
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("t");
	SYS(mkdir("t/dir", 0755));
	SYS(mkdir("t/taken", 0755));
	write_file("t/file", "");
	write_file("file", "");
	new_bind("t/dir", "b1");
	new_bind("t/taken", "b2");
	write_file("f1", "");
	write_file("f2", "");
	bind_mount("t/file", "f1");
	bind_mount("file", "f2");
	SYS(rmdir("t/dir"));
	SYS(rmdir("t/taken"));
	write_file("t/taken", "another one of the name");
	SYS(unlink("t/file"));
	SYS(unlink("file"));

	test_daemon();
	test_waitsig();
	check_absent("t/dir");
	check_absent("t/file");
	check_absent("file");
	check_file("t/taken", "another one of the name");
	CHECK(mkdir("b1/new", 0755) < 0 && errno == ENOENT, "the directory is not deleted: %s",
	      strerror(errno));
	unmount("b1");
	unmount("b2");
	unmount("f1");
	unmount("f2");

	pass();
}
