/*
 * title: a root directory that was removed stays one, with the working directory and a descriptor in it
 * flavours: host ns userns
 * flags: suid
 */
#include "child.h"
#include "files.h"

int main(int argc, char **argv)
{
	struct stat root, cwd;
	pid_t pid;
	int fd;

	test_init(argc, argv);
	SYS(mkdir("root", 0700));
	pid = child_fork();
	if (!pid) {
		fd = SYS(open("root", O_PATH | O_DIRECTORY));
		SYS(chdir("root"));
		SYS(rmdir("../root"));
		SYS(fchdir(fd));
		SYS(chroot("."));
		child_wait();
		SYS(stat("/", &root));
		SYS(stat(".", &cwd));
		CHECK(root.st_ino == cwd.st_ino && root.st_ino == file_stat(fd).st_ino, "three directories");
		CHECK(mkdir("/below", 0755) < 0 && errno == ENOENT, "a removed root takes a new entry");
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	file_absent("root");
	child_go();
	test_reap(pid);
	pass();
}
