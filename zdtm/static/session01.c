/*
 * title: sixteen tasks with dead parents, in sessions and groups of all ages, are who they were
 * flavours: ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	/* a session whose leader lives, with a group that is led by a grandchild and joined by its elders */
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_fork(2, 3);
	tree_fork(3, 4);
	tree_setpgid(4, 4);
	tree_setpgid(3, 4);
	tree_setpgid(2, 4);
	/* a session of that one's: its leader forked from within a foreign group */
	tree_fork(3, 5);
	tree_setsid(5);
	tree_fork(5, 6);
	tree_fork(6, 7);
	tree_setpgid(7, 7);
	/* a group without its leader, in the first session */
	tree_fork(1, 20);
	tree_setpgid(20, 20);
	tree_fork(20, 8);
	tree_fork(1, 9);
	tree_setpgid(9, 20);
	tree_leave(1, 20);
	/* a session without its leader: orphans in the leader's group, in one of their own, and below one */
	tree_fork(0, 21);
	tree_setsid(21);
	tree_fork(21, 10);
	tree_fork(21, 11);
	tree_setpgid(11, 11);
	tree_fork(11, 12);
	tree_fork(12, 13);
	tree_setsid(13);
	tree_leave(0, 21);
	/* a child that its grandparent's session has left behind twice */
	tree_fork(13, 22);
	tree_setsid(22);
	tree_fork(22, 23);
	tree_fork(23, 14);
	tree_leave(22, 23);
	tree_leave(13, 22);
	tree_fork(0, 15);
	tree_setpgid(15, 15);
	tree_record();
	tree_expect(1, 0, 1, 1);
	tree_expect(2, 1, 1, 4);
	tree_expect(3, 2, 1, 4);
	tree_expect(4, 3, 1, 4);
	tree_expect(5, 3, 5, 5);
	tree_expect(6, 5, 5, 5);
	tree_expect(7, 6, 5, 7);
	tree_expect(8, TREE_INIT, 1, 20);
	tree_expect(9, 1, 1, 20);
	tree_expect(10, TREE_INIT, 21, 21);
	tree_expect(11, TREE_INIT, 21, 11);
	tree_expect(12, 11, 21, 11);
	tree_expect(13, 12, 13, 13);
	tree_expect(14, TREE_INIT, 22, 22);
	tree_expect(15, 0, 0, 15);
	test_daemon();
	test_waitsig();
	tree_check();
	tree_end();
	pass();
}
