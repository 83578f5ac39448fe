/*
 * title: a session whose leader is a zombie keeps its members, and the leader can be reaped
 * flavours: ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	pid_t leader;
	int status;

	test_init(argc, argv);
	tree_start();
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_fork(2, 3);
	tree_setpgid(3, 3);
	tree_exit(1, 5);
	leader = tree_pid(1);
	tree_record();
	tree_expect(2, TREE_INIT, 1, 1);
	tree_expect(3, 2, 1, 3);
	test_daemon();
	test_waitsig();
	tree_check();
	CHECK(tree_state(leader) == 'Z', "the leader is in state %c", tree_state(leader));
	CHECK(getsid(leader) == leader && getpgid(leader) == leader, "the leader has session %d and group %d",
	      getsid(leader), getpgid(leader));
	status = tree_reap(0, 1);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5, "the leader has wait status %#x", status);
	/* Its number stays taken by the session that has members. */
	tree_check();
	CHECK(!kill(-leader, 0), "the leader's group has no member");
	tree_end();
	pass();
}
