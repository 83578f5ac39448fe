/*
 * title: deleted files on mounts that are read-only by now
 * flavours: ns userns
 * flags: suid
 */
#include <sys/mount.h>

#include "files.h"

int main(int argc, char **argv)
{
	int one, other, made;

	test_init(argc, argv);
	SYS(mkdir("one", 0755));
	SYS(mkdir("other", 0755));
	SYS(mount("none", "one", "tmpfs", 0, ""));
	SYS(mount(NULL, "one", NULL, MS_SHARED, NULL));
	SYS(mount("one", "other", NULL, MS_BIND, NULL));
	SYS(close(file_make("one/file", 1000, 1)));
	one = SYS(open("one/file", O_RDONLY));
	SYS(close(file_make("other/another", 1000, 2)));
	other = SYS(open("other/another", O_RDONLY));
	SYS(unlink("one/file"));
	SYS(unlink("other/another"));
	SYS(mount(NULL, "one", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	SYS(mount(NULL, "other", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL));
	test_daemon();
	test_waitsig();
	file_holds(one, 1000, 1);
	file_holds(other, 1000, 2);
	file_links(one, 0);
	file_links(other, 0);
	CHECK(file_info(one, "mnt_id:\t", 10) != file_info(other, "mnt_id:\t", 10), "both are on one mount");
	made = open("one/new", O_CREAT | O_WRONLY, 0600);
	CHECK(made < 0 && errno == EROFS, "the first mount can be written to");
	made = open("other/new", O_CREAT | O_WRONLY, 0600);
	CHECK(made < 0 && errno == EROFS, "the second mount can be written to");
	pass();
}
