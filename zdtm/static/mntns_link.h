/* Both names are deleted; LINKS more are left. */
#include "mntns.h"

int main(int argc, char **argv)
{
	struct {
		ino_t inode;
		int mount;
	} *shared;
	pid_t pid;
	int fd;

	test_init(argc, argv);
	mntns_make();
	shared = test_shared(sizeof(*shared));
	fd = file_make("dir/one", 1000, 1);
	SYS(link("dir/one", "dir/other"));
	if (LINKS)
		SYS(link("dir/one", "dir/hidden"));
	pid = child_fork();
	if (!pid) {
		mntns_bind(0);
		SYS(close(fd));
		fd = SYS(open("bound/other", O_RDWR));
		child_wait();
		CHECK(file_stat(fd).st_ino == shared->inode, "two files");
		CHECK(mntns_id(fd) != shared->mount, "one mount");
		file_links(fd, LINKS);
		file_holds(fd, 1000, 1);
		_exit(0);
	}
	child_await();
	SYS(unlink("dir/one"));
	SYS(unlink("dir/other"));
	test_daemon();
	test_waitsig();
	shared->inode = file_stat(fd).st_ino;
	shared->mount = mntns_id(fd);
	file_links(fd, LINKS);
	file_holds(fd, 1000, 1);
	child_go();
	test_reap(pid);
	pass();
}
