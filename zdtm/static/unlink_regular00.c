/*
 * title: a file whose name is deleted, and its directory too, but that has a name elsewhere
 * flavours: ns userns
 * flags: suid
 * opts: --link-remap
 */
#include <sys/mount.h>

#include "files.h"

int main(int argc, char **argv)
{
	int fd, kept;

	test_init(argc, argv);
	SYS(mkdir("mnt", 0755));
	SYS(mount("none", "mnt", "tmpfs", 0, ""));
	SYS(mkdir("mnt/dir", 0755));
	SYS(mkdir("mnt/dir/below", 0755));
	fd = file_make("mnt/dir/below/file", 2000, 1);
	SYS(link("mnt/dir/below/file", "mnt/kept"));
	SYS(unlink("mnt/dir/below/file"));
	SYS(rmdir("mnt/dir/below"));
	SYS(rmdir("mnt/dir"));
	test_daemon();
	test_waitsig();
	kept = SYS(open("mnt/kept", O_RDONLY));
	CHECK(file_same(fd, kept), "two files");
	file_links(fd, 1);
	file_holds(fd, 2000, 1);
	file_absent("mnt/dir");
	pass();
}
