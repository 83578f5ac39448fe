/*
 * title: an orphan stays with init though its session's leader has become a subreaper since
 * flavours: ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_fork(0, 1);
	tree_setsid(1);
	tree_fork(1, 2);
	tree_fork(2, 3);
	tree_leave(1, 2);
	tree_subreaper(1, true);
	tree_record();
	tree_expect(3, TREE_INIT, 1, 1);
	test_daemon();
	test_waitsig();
	tree_check();
	/* An orphan of now goes to the subreaper. */
	tree_fork(1, 4);
	tree_fork(4, 5);
	tree_leave(1, 4);
	tree_record();
	tree_expect(5, 1, 1, 1);
	tree_expect(3, TREE_INIT, 1, 1);
	tree_end();
	pass();
}
