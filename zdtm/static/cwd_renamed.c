/*
 * title: a current directory that was renamed is known by its new name
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char cwd[PATH_MAX];

	test_init(argc, argv);
	SYS(mkdir("old", 0755));
	SYS(chdir("old"));
	SYS(rename("../old", "../new"));
	test_daemon();
	test_waitsig();
	CHECK(getcwd(cwd, sizeof(cwd)), "getcwd: %m");
	CHECK(!strcmp(cwd, test_path("new")), "in %s instead of %s", cwd, test_path("new"));
	pass();
}
