/*
 * title: an open directory that was removed, and its parent too, is a directory without a name
 * flavours: host ns userns
 */
#include <dirent.h>

#include "files.h"

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("parent", 0755));
	SYS(mkdir("parent/dir", 0710));
	fd = SYS(open("parent/dir", O_RDONLY | O_DIRECTORY));
	SYS(rmdir("parent/dir"));
	SYS(rmdir("parent"));
	snprintf(path, sizeof(path), "%s" DELETED, test_path("parent/dir"));
	file_named(fd, path);
	test_daemon();
	test_waitsig();
	st = file_stat(fd);
	CHECK(S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0710, "mode %o", st.st_mode);
	file_links(fd, 0);
	file_named(fd, path);
	file_absent("parent");
	CHECK(mkdirat(fd, "below", 0755) < 0 && errno == ENOENT, "a removed directory takes a new entry");
	pass();
}
