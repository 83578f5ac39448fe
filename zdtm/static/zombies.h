/* For tests of zombies: children that end in given ways, and what wait says of them before and after. */
#ifndef ZOMBIES_H
#define ZOMBIES_H

#include <sys/resource.h>

#include "tree.h"

struct zombie {
	int code, status; /* si_code and si_status of waitid(2) */
};

static inline void zombie_check(const struct zombie *z, int who, int options)
{
	siginfo_t info = {.si_pid = 0};

	SYS(waitid(P_PID, (id_t)tree_pid(who), &info, WEXITED | WNOHANG | options));
	CHECK(info.si_pid == tree_pid(who), "zombie %d cannot be waited for", who);
	CHECK(info.si_code == z->code && info.si_status == z->status,
	      "zombie %d has code %d and status %d instead of %d and %d", who, info.si_code, info.si_status,
	      z->code, z->status);
	CHECK(info.si_uid == getuid(), "zombie %d has uid %d", who, info.si_uid);
}

static inline _Noreturn void zombies_run(const struct zombie *zombies, int count)
{
	const struct rlimit no_core = {0, 0};
	int who;

	tree_start();
	/* A core dump would show in the status. */
	SYS(setrlimit(RLIMIT_CORE, &no_core));
	for (who = 1; who <= count; who++) {
		tree_fork(0, who);
		if (zombies[who - 1].code == CLD_EXITED)
			tree_exit(who, zombies[who - 1].status);
		else
			tree_kill(who, zombies[who - 1].status);
		zombie_check(&zombies[who - 1], who, WNOWAIT);
	}
	tree_fork(0, who); /* and somebody alive */
	tree_record();
	test_daemon();
	test_waitsig();
	tree_check();
	for (who = count; who > 0; who--) {
		pid_t pid = tree_pid(who);

		CHECK(tree_state(pid) == 'Z', "task %d is in state %c", who, tree_state(pid));
		CHECK(getpgid(pid) == getpid() && getsid(pid) == getpid(),
		      "zombie %d is in group %d of session %d", who, getpgid(pid), getsid(pid));
		zombie_check(&zombies[who - 1], who, 0);
		CHECK(kill(pid, 0) == -1 && errno == ESRCH, "zombie %d was there twice", who);
	}
	tree_end();
	pass();
}

#endif
