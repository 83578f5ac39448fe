/*
 * title: orphans whose session's leader is dead are a subreaper's, which hears nothing of a restore
 * flavours: host ns userns
 */
#include "tree.h"

static volatile sig_atomic_t ended;

static void count(int sig)
{
	(void)sig;
	ended++;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};

	test_init(argc, argv);
	tree_start();
	tree_subreaper(0, true);
	/* two orphans of one session, one in a group of its own, and a descendant */
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_fork(1, 3);
	tree_setpgid(3, 3);
	tree_fork(3, 4);
	tree_leave(0, 1);
	/* adopted by a subreaper further down, which leads a session itself */
	tree_fork(0, 5);
	tree_setsid(5);
	tree_subreaper(5, true);
	tree_fork(5, 6);
	tree_setsid(6);
	tree_fork(6, 7);
	tree_leave(5, 6);
	/* a daemon's double fork: the middle one leads the session, and is gone */
	tree_fork(2, 8);
	tree_setsid(8);
	tree_fork(8, 9);
	tree_leave(2, 8);
	SYS(sigaction(SIGCHLD, &action, NULL));
	tree_record();
	tree_expect(2, 0, 1, 1);
	tree_expect(3, 0, 1, 3);
	tree_expect(4, 3, 1, 3);
	tree_expect(5, 0, 5, 5);
	tree_expect(7, 5, 6, 6);
	tree_expect(9, 0, 8, 8);
	test_daemon();
	test_waitsig();
	CHECK(!ended, "%d children that the test never had have ended", (int)ended);
	tree_check();
	tree_leave(0, 9);
	CHECK(ended == 1, "%d signals for the end of one child", (int)ended);
	tree_end();
	pass();
}
