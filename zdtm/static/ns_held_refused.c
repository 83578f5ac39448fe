/*
 * title: a mount namespace that only a descriptor keeps is refused where the tree's mounts are the host's
 * flavours: host
 * flags: suid crfail
 */
#include "child.h"
#include "nsfile.h"

int main(int argc, char **argv)
{
	pid_t pid;
	int held;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid) {
		SYS(unshare(CLONE_NEWNS));
		child_wait();
		_exit(0);
	}
	child_await();
	held = nsfile_open(pid, "mnt");
	child_go();
	test_reap(pid);
	test_daemon();
	test_waitsig();
	SYS(setns(held, CLONE_NEWNS));
	pass();
}
