/*
 * title: sessions stay: one's own, an inherited one, one that its leader left, one changed twice
 * flavours: ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	/* a session of its own, and a child in it */
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	/* a daemon: its parent is gone, the session's leader is there */
	tree_fork(1, 3);
	tree_fork(3, 4);
	tree_leave(1, 3);
	/* the leader itself is gone */
	tree_fork(0, 5);
	tree_setsid(5);
	tree_fork(5, 6);
	tree_fork(6, 7);
	tree_leave(0, 5);
	/* changed by parent and child, each after the fork */
	tree_fork(1, 8);
	tree_fork(8, 9);
	tree_setsid(8);
	tree_fork(8, 10);
	tree_setsid(9);
	tree_record();
	tree_expect(0, TREE_INIT, 0, 0);
	tree_expect(1, 0, 1, 1);
	tree_expect(2, 1, 1, 1);
	tree_expect(4, TREE_INIT, 1, 1);
	tree_expect(6, TREE_INIT, 5, 5);
	tree_expect(7, 6, 5, 5);
	tree_expect(8, 1, 8, 8);
	tree_expect(9, 8, 9, 9);
	tree_expect(10, 8, 8, 8);
	test_daemon();
	test_waitsig();
	tree_check();
	tree_end();
	pass();
}
