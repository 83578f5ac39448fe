/*
 * title: the current directory stays, by name and by what it holds
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char before[PATH_MAX], after[PATH_MAX];
	struct stat by_path, by_name;

	test_init(argc, argv);
	SYS(mkdir("dir", 0755));
	SYS(chdir("dir"));
	CHECK(getcwd(before, sizeof(before)), "getcwd: %m");
	CHECK(!strcmp(before, test_path("dir")), "in %s after chdir", before);
	test_daemon();
	test_waitsig();
	CHECK(getcwd(after, sizeof(after)), "getcwd: %m");
	CHECK(!strcmp(before, after), "in %s, was in %s", after, before);
	SYS(stat(".", &by_name));
	SYS(stat(test_path("dir"), &by_path));
	CHECK(by_name.st_ino == by_path.st_ino && by_name.st_dev == by_path.st_dev, "another directory");
	pass();
}
