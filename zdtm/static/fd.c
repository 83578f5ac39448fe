/*
 * title: a task without any descriptor gets none
 * flavours: host ns userns
 */
#include <dirent.h>

#include "child.h"
#include "files.h"

static int count(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	CHECK(dir, "%s: %m", path);
	while ((entry = readdir(dir)))
		found += entry->d_name[0] != '.';
	closedir(dir);
	return found;
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid) {
		SYS(close_range(0, ~0U, 0));
		child_wait();
		_exit(0);
	}
	child_await();
	CHECK(!count(pid), "it has descriptors");
	test_daemon();
	test_waitsig();
	CHECK(!count(pid), "%d descriptors", count(pid));
	child_go();
	test_reap(pid);
	pass();
}
