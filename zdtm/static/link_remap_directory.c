/*
 * title: a file whose name is deleted, and its directories too, but that has a name further up
 * flavours: host ns userns
 * opts: --link-remap
 */
#include "files.h"

int main(int argc, char **argv)
{
	char name[PATH_MAX];
	int fd, kept;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	SYS(mkdir("dir/below", 0755));
	fd = file_make("dir/below/file", 2000, 1);
	SYS(link("dir/below/file", "kept"));
	SYS(unlink("dir/below/file"));
	SYS(rmdir("dir/below"));
	SYS(rmdir("dir"));
	test_daemon();
	test_waitsig();
	kept = SYS(open("kept", O_RDONLY));
	CHECK(file_same(fd, kept), "two files");
	file_links(fd, 1);
	file_holds(fd, 2000, 1);
	snprintf(name, sizeof(name), "%s" DELETED, test_path("dir/below/file"));
	file_named(fd, name);
	file_absent("dir");
	pass();
}
