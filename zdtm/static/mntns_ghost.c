/*
 * title: a deleted file on a bind mount of a mount namespace of its own
 * flavours: ns userns
 * flags: suid
 * opts: --link-remap
 * needs: mnt_id
 */
#include "mntns.h"

int main(int argc, char **argv)
{
	pid_t pid;
	int fd;

	test_init(argc, argv);
	mntns_make();
	pid = child_fork();
	if (!pid) {
		mntns_bind(0);
		fd = file_make("bound/file", 1000, 1);
		SYS(unlink("bound/file"));
		child_wait();
		file_holds(fd, 1000, 1);
		file_links(fd, 0);
		file_absent("bound/file");
		SYS(close(fd));
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(pid);
	file_absent("dir/file");
	pass();
}
