/*
 * title: a deleted file that is open by a mount, and by a read-only one of another namespace
 * flavours: ns userns
 * flags: suid
 * opts: --link-remap
 * needs: mnt_id
 */
#include "mntns.h"

int main(int argc, char **argv)
{
	ino_t *inode;
	pid_t pid;
	int fd;

	test_init(argc, argv);
	mntns_make();
	inode = test_shared(sizeof(*inode));
	fd = file_make("dir/file", 1000, 1);
	pid = child_fork();
	if (!pid) {
		mntns_bind(MS_RDONLY);
		SYS(close(fd));
		fd = SYS(open("bound/file", O_RDONLY));
		child_wait();
		CHECK(file_stat(fd).st_ino == *inode, "two files");
		file_holds(fd, 1000, 1);
		SYS(close(fd));
		fd = open("bound/file", O_CREAT | O_WRONLY, 0600);
		CHECK(fd < 0 && errno == EROFS, "the mount can be written to");
		_exit(0);
	}
	child_await();
	SYS(unlink("dir/file"));
	test_daemon();
	test_waitsig();
	*inode = file_stat(fd).st_ino;
	file_links(fd, 0);
	child_go();
	test_reap(pid);
	SYS(close(fd));
	pass();
}
