/*
 * title: a program whose file is deleted is the same deleted file, for its child as well
 * flavours: host ns userns
 */
#include "program.h"

#include <dirent.h>
#include <sys/wait.h>

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

/* Where the dynamic loader has mapped the program: the same file? */
static bool mapped(const struct stat *file)
{
	char *text = test_read_file("/proc/self/maps", NULL), *line, *rest;
	unsigned long inode;
	bool found = false;

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strstr(line, "copy (deleted)")) {
			CHECK(sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1, "%s", line);
			CHECK(inode == file->st_ino, "the mapped file is another one than /proc/self/exe");
			found = true;
		}
	free(text);
	return found;
}

static void check(const char *wanted, const char *contents, size_t length)
{
	struct stat file;
	size_t now;
	char *text;

	program_check_exe(wanted);
	program_check_comm("copy");
	SYS(stat("/proc/self/exe", &file));
	CHECK(file.st_nlink == 0, "the file has %d names", (int)file.st_nlink);
	CHECK((file.st_mode & 07777) == 0700 && file.st_uid == getuid(), "mode %o of uid %d",
	      file.st_mode & 07777, file.st_uid);
	CHECK(mapped(&file), "the program is not mapped");
	text = test_read_file("/proc/self/exe", &now);
	CHECK(now == length && !memcmp(text, contents, now), "the file holds something else");
	free(text);
}

int main(int argc, char **argv)
{
	char path[PATH_MAX], *contents;
	struct shared {
		uint32_t ready, go;
		ino_t inode;
	} *shared;
	struct stat file;
	size_t length;
	int count;
	pid_t pid;

	/* Once from the file that the harness has made and keeps, then from a copy. */
	if (argc < 2) {
		program_copy("copy");
		SYS(execl("copy", "copy", "as copy", NULL));
	}
	test_init(argc, argv);
	contents = test_read_file("/proc/self/exe", &length);
	program_link("/proc/self/exe", path);
	SYS(unlink("copy"));
	strcat(path, " (deleted)");
	check(path, contents, length);
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid) {
		test_post(&shared->ready);
		test_await(&shared->go, 1);
		check(path, contents, length);
		SYS(stat("/proc/self/exe", &file));
		CHECK(file.st_ino == shared->inode, "parent and child run different files");
		_exit(0);
	}
	tree_await(pid, &shared->ready, 1);
	count = entries();
	test_daemon();
	test_waitsig();
	check(path, contents, length);
	CHECK(access("copy", F_OK) && errno == ENOENT, "the file has its name back");
	CHECK(entries() == count, "%d names in the directory, were %d", entries(), count);
	SYS(stat("/proc/self/exe", &file));
	shared->inode = file.st_ino;
	test_post(&shared->go);
	test_reap(pid);
	pass();
}
