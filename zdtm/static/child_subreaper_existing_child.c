/*
 * title: a subreaper adopts orphans of children that are older than the attribute
 * flavours: host ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_fork(0, 1);
	tree_fork(1, 2);
	tree_fork(2, 3);
	tree_subreaper(0, true);
	tree_record();
	tree_expect(2, 1, 0, 0);
	tree_expect(3, 2, 0, 0);
	test_daemon();
	test_waitsig();
	tree_check();
	tree_leave(0, 1);
	tree_record();
	tree_expect(2, 0, 0, 0);
	tree_leave(0, 2);
	tree_record();
	tree_expect(3, 0, 0, 0);
	tree_end();
	pass();
}
