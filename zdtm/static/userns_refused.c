/*
 * title: what cannot be made again in user namespaces below the tree's is refused by name
 * flavours: host ns userns
 * flags: suid crfail
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "child.h"

/* Two processes in such a namespace have one working directory: setns(2) takes nobody there who shares it. */
int main(int argc, char **argv)
{
	pid_t child, kid;

	test_init(argc, argv);
	child = child_fork();
	if (!child) {
		SYS(unshare(CLONE_NEWUSER));
		kid = SYS(syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0));
		child_wait();
		if (kid)
			test_reap(kid);
		_exit(0);
	}
	test_await(&child_words->ready, 2);
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(child);
	pass();
}
