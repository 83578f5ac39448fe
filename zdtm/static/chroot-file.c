/*
 * title: a file that is open from outside of a task's root stays open, and unreachable by name
 * flavours: host ns userns
 * flags: suid
 */
#include "child.h"
#include "files.h"

enum { SIZE = 5000 };

int main(int argc, char **argv)
{
	int fd, directory;
	struct stat st;
	pid_t pid;

	test_init(argc, argv);
	SYS(mkdir("root", 0755));
	pid = child_fork();
	if (!pid) {
		fd = file_make("file", SIZE, 1);
		directory = SYS(open(".", O_RDONLY | O_DIRECTORY));
		SYS(chroot("root"));
		child_wait();
		file_holds(fd, SIZE, 1);
		CHECK(stat("/file", &st) < 0 && errno == ENOENT, "the file is inside");
		CHECK(stat(test_path("file"), &st) < 0 && errno == ENOENT, "the old root is still there");
		/* The directory that it was in before is outside, and still its own. */
		SYS(stat("file", &st));
		CHECK(st.st_ino == file_stat(fd).st_ino, "another working directory");
		SYS(fstatat(directory, "root", &st, 0));
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(pid);
	pass();
}
