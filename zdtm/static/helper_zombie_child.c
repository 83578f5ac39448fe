/*
 * title: zombies stay in the session of a leader that is gone
 * flavours: ns userns
 */
#include "tree.h"

static void check_zombie(int who, int session, const char *when)
{
	pid_t pid = tree_pid(who), leader = tree_pid(session);

	CHECK(!kill(pid, 0), "zombie %d is gone %s: %m", who, when);
	CHECK(tree_state(pid) == 'Z', "task %d is in state %c %s", who, tree_state(pid), when);
	CHECK(getsid(pid) == leader, "zombie %d has session %d instead of %d %s", who, getsid(pid), leader,
	      when);
	CHECK(getpgid(pid) == leader, "zombie %d has group %d instead of %d %s", who, getpgid(pid), leader,
	      when);
	CHECK(kill(leader, 0) == -1 && errno == ESRCH, "the leader of zombie %d is there %s", who, when);
}

int main(int argc, char **argv)
{
	int status;

	test_init(argc, argv);
	tree_start();
	/* One that its leader's end has made an orphan, and one that has always been the test's child. */
	tree_subreaper(0, true);
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_leave(0, 1);
	tree_exit(2, 42);
	tree_fork(0, 3);
	tree_setsid(3);
	tree_clone(3, 4, CLONE_PARENT);
	tree_leave(0, 3);
	tree_exit(4, 43);
	tree_record();
	check_zombie(2, 1, "from the start");
	check_zombie(4, 3, "from the start");
	test_daemon();
	test_waitsig();
	tree_check();
	check_zombie(2, 1, "now");
	check_zombie(4, 3, "now");
	status = tree_reap(0, 2);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "wait status %#x instead of 42 << 8", status);
	status = tree_reap(0, 4);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 43, "wait status %#x instead of 43 << 8", status);
	tree_end();
	pass();
}
