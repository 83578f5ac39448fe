/*
 * title: a current directory that was removed is still the same one, without a name
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char link[PATH_MAX], cwd[PATH_MAX];
	const char *dir;
	ssize_t n;

	test_init(argc, argv);
	dir = test_path("dir");
	SYS(mkdir(dir, 0755));
	SYS(chdir(dir));
	SYS(rmdir(dir));
	test_daemon();
	test_waitsig();
	n = SYS(readlink("/proc/self/cwd", link, sizeof(link) - 1));
	link[n] = 0;
	CHECK(!strncmp(link, dir, strlen(dir)), "the current directory is %s, was %s", link, dir);
	CHECK(strstr(link, " (deleted)"), "the current directory %s has a name", link);
	CHECK(!getcwd(cwd, sizeof(cwd)) && errno == ENOENT, "getcwd finds a removed directory");
	CHECK(mkdir("below", 0755) < 0 && errno == ENOENT, "a removed directory takes a new entry");
	CHECK(access(dir, F_OK) < 0 && errno == ENOENT, "%s has come back", dir);
	pass();
}
