/*
 * title: an orphaned group, of a session without its leader, is one still
 * flavours: host ns userns
 */
#include "pgrp.h"

int main(int argc, char **argv)
{
	int who;

	test_init(argc, argv);
	tree_start();
	tree_subreaper(0, true);
	/* led by 2, and orphaned: nobody of its session is outside, as 1 is gone */
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_setpgid(2, 2);
	tree_fork(2, 3);
	tree_leave(0, 1);
	tree_fork(0, 4);
	for (who = 2; who <= 4; who++)
		tree_step(who, pgrp_counts, 0);
	tree_record();
	tree_expect(2, 0, 1, 2);
	tree_expect(3, 2, 1, 2);
	tree_expect(4, 0, 0, 0);
	test_daemon();
	test_waitsig();
	tree_check();
	/* A signal to a group reaches its members, and nobody else. */
	SYS(kill(-tree_pid(2), SIGUSR1));
	tree_step(2, pgrp_has_counted, 1);
	tree_step(3, pgrp_has_counted, 1);
	tree_step(4, pgrp_has_counted, 0);
	/* Nobody could continue it, so a terminal's stop signal does nothing: setpgid(2). */
	SYS(kill(-tree_pid(2), SIGTSTP));
	tree_step(2, tree_task_checks, 0);
	tree_step(3, tree_task_checks, 0);
	CHECK(waitpid(-1, NULL, WNOHANG | WUNTRACED) == 0, "a task of an orphaned group has stopped");
	tree_end();
	pass();
}
