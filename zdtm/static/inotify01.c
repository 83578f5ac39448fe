/*
 * title: what is watched is on a tmpfs that only a child's mount namespace has
 * flavours: ns userns
 * flags: suid
 * needs: mnt_id
 */
#include <sched.h>
#include <sys/mount.h>

#include "child.h"
#include "inotify.h"

int main(int argc, char **argv)
{
	int fd;
	uint32_t *wds;
	pid_t pid;

	test_init(argc, argv);
	fd = SYS(inotify_init1(IN_NONBLOCK));
	wds = test_shared(2 * sizeof(*wds));
	pid = child_fork();
	if (!pid) {
		SYS(unshare(CLONE_NEWNS));
		SYS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		SYS(mkdir("mount", 0700));
		SYS(mount("zdtm", "mount", "tmpfs", 0, NULL));
		SYS(mkdir("mount/dir", 0700));
		touch("mount/file");
		wds[0] = (uint32_t)SYS(inotify_add_watch(fd, "mount/file", IN_CLOSE_WRITE));
		wds[1] = (uint32_t)SYS(inotify_add_watch(fd, "mount/dir", IN_CREATE));
		child_wait();
		touch("mount/file");
		touch("mount/dir/new");
		SYS(umount("mount"));
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check_watch(fd, (int)wds[0], IN_CLOSE_WRITE);
	check_watch(fd, (int)wds[1], IN_CREATE);
	drain_events(fd);
	child_go();
	test_reap(pid);
	expect_event(fd, (int)wds[0], IN_CLOSE_WRITE, NULL);
	expect_event(fd, (int)wds[1], IN_CREATE, "new");
	pass();
}
