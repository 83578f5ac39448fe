/*
 * title: a group whose leader is gone and reaped is a group still
 * flavours: host ns userns
 */
#include "pgrp.h"

int main(int argc, char **argv)
{
	siginfo_t info = {.si_pid = 0};
	int who;

	test_init(argc, argv);
	tree_start();
	/* led by 1, which is gone; members are a brother and a nephew of its */
	tree_fork(0, 1);
	tree_setpgid(1, 1);
	tree_fork(0, 2);
	tree_setpgid(2, 1);
	tree_fork(2, 3);
	tree_leave(0, 1);
	tree_fork(0, 4);
	for (who = 2; who <= 4; who++)
		tree_step(who, pgrp_counts, 0);
	tree_record();
	tree_expect(2, 0, 0, 1);
	tree_expect(3, 2, 0, 1);
	tree_expect(4, 0, 0, 0);
	test_daemon();
	test_waitsig();
	tree_check();
	/* A signal to a group reaches its members, and nobody else. */
	SYS(kill(-tree_pid(1), SIGUSR1));
	tree_step(2, pgrp_has_counted, 1);
	tree_step(3, pgrp_has_counted, 1);
	tree_step(4, pgrp_has_counted, 0);
	/* It is no orphaned group: a terminal's stop signal has its effect. */
	SYS(kill(tree_pid(2), SIGTSTP));
	SYS(waitid(P_PGID, (id_t)tree_pid(1), &info, WSTOPPED));
	CHECK(info.si_pid == tree_pid(2) && info.si_status == SIGTSTP, "pid %d stopped with status %d",
	      info.si_pid, info.si_status);
	SYS(kill(tree_pid(2), SIGCONT));
	tree_end();
	pass();
}
