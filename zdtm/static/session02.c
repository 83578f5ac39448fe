/*
 * title: a tree that no simple story leads to: nested subreapers, sessions of the dead, adopted leaders
 * flavours: host ns userns
 * flags: noauto
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_subreaper(0, true);
	/* 2 begins a session below 1, which dies: the test has a session leader that it did not make. */
	tree_fork(0, 1);
	tree_fork(1, 2);
	tree_setsid(2);
	tree_fork(2, 3);
	tree_leave(0, 1);
	/* 3 adopts: 6 in the session of 5, which is gone, as is 4 in between. */
	tree_subreaper(3, true);
	tree_fork(3, 4);
	tree_fork(4, 5);
	tree_setsid(5);
	tree_fork(5, 6);
	tree_leave(4, 5);
	tree_leave(3, 4);
	/* 6 leads no session, its child does; the child's child is in 6's. */
	tree_fork(6, 7);
	tree_fork(7, 8);
	tree_setsid(7);
	/* An orphan of the dead session goes to the test, once 3 does not adopt any more. */
	tree_fork(6, 9);
	tree_fork(9, 10);
	tree_subreaper(3, false);
	tree_leave(6, 9);
	/* A sibling that is in its nephew's session: made by the nephew, who makes it its grandparent's. */
	tree_fork(2, 11);
	tree_fork(11, 12);
	tree_setsid(12);
	tree_clone(12, 13, CLONE_PARENT);
	tree_clone(13, 14, CLONE_PARENT);
	tree_leave(11, 12);
	/* 2 dies last: what it leads outlives it. */
	tree_leave(0, 2);
	tree_record();
	tree_expect(3, 0, 2, 2);
	tree_expect(6, 3, 5, 5);
	tree_expect(7, 6, 7, 7);
	tree_expect(8, 7, 5, 5);
	tree_expect(10, 0, 5, 5);
	tree_expect(11, 0, 2, 2);
	tree_expect(13, 11, 12, 12);
	tree_expect(14, 11, 12, 12);
	test_daemon();
	test_waitsig();
	tree_check();
	tree_end();
	pass();
}
