/*
 * title: a zombie stays in the process group of a leader that is gone
 * flavours: host ns userns
 * flags: suid
 */
#include "tree.h"

static void check(const char *when)
{
	CHECK(kill(tree_pid(1), 0) == -1 && errno == ESRCH, "the leader is there %s", when);
	CHECK(tree_state(tree_pid(2)) == 'Z', "task 2 is in state %c %s", tree_state(tree_pid(2)), when);
	CHECK(getpgid(tree_pid(2)) == tree_pid(1), "the zombie has group %d instead of %d %s",
	      getpgid(tree_pid(2)), tree_pid(1), when);
	CHECK(getsid(tree_pid(2)) == getpid(), "the zombie has session %d %s", getsid(tree_pid(2)), when);
}

int main(int argc, char **argv)
{
	siginfo_t info = {.si_pid = 0};

	test_init(argc, argv);
	tree_start();
	tree_fork(0, 1);
	tree_setpgid(1, 1);
	tree_fork(0, 2);
	tree_setpgid(2, 1);
	tree_leave(0, 1);
	tree_exit(2, 3);
	check("from the start");
	test_daemon();
	test_waitsig();
	check("now");
	/* The group is real: it can be waited for, and has nobody else. */
	SYS(waitid(P_PGID, (id_t)tree_pid(1), &info, WEXITED | WNOHANG));
	CHECK(info.si_pid == tree_pid(2) && info.si_code == CLD_EXITED && info.si_status == 3,
	      "pid %d ended with code %d and status %d", info.si_pid, info.si_code, info.si_status);
	CHECK(kill(-tree_pid(1), 0) == -1 && errno == ESRCH, "the group has another member");
	tree_end();
	pass();
}
