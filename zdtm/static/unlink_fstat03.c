/*
 * title: a file whose name is deleted, but that has another one, is the same file as by that other one
 * flavours: host ns userns
 * opts: --link-remap
 */
#include <dirent.h>

#include "files.h"

static int entries(void)
{
	DIR *directory = opendir(".");
	int count = 0;

	CHECK(directory, "opendir: %m");
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

int main(int argc, char **argv)
{
	int fd, twice, other, count;
	char name[PATH_MAX];
	struct stat before;

	test_init(argc, argv);
	fd = file_make("file", 3000, 1);
	SYS(link("file", "kept"));
	twice = SYS(open("file", O_RDONLY));
	SYS(unlink("file"));
	before = file_stat(fd);
	count = entries();
	test_daemon();
	test_waitsig();
	other = SYS(open("kept", O_RDONLY));
	CHECK(file_same(fd, other) && file_same(twice, other), "another file than by its name");
	CHECK(file_stat(fd).st_ino == before.st_ino, "another inode");
	file_holds(fd, 3000, 1);
	file_links(fd, 1);
	snprintf(name, sizeof(name), "%s" DELETED, test_path("file"));
	file_named(fd, name);
	file_absent("file");
	/* Nothing was left behind. */
	CHECK(entries() <= count + 2, "%d names instead of %d", entries(), count);
	pass();
}
