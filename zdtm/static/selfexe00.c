/*
 * title: the link to the program's own file stays
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <limits.h>
#include <unistd.h>

static void own_file(char *path)
{
	ssize_t n = SYS(readlink("/proc/self/exe", path, PATH_MAX - 1));

	path[n] = 0;
}

int main(int argc, char **argv)
{
	char before[PATH_MAX], after[PATH_MAX];

	test_init(argc, argv);
	own_file(before);
	test_daemon();
	test_waitsig();
	own_file(after);
	CHECK(!strcmp(before, after), "%s, was %s", after, before);
	pass();
}
