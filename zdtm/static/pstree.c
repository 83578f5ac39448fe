/*
 * title: parent, child, grandchildren and a second child know each other and keep their memory
 * flavours: host ns userns
 */
#include "tree.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_fork(0, 1);
	tree_fork(1, 2);
	tree_fork(1, 3);
	tree_fork(0, 4);
	tree_record();
	tree_expect(1, 0, 0, 0);
	tree_expect(2, 1, 0, 0);
	tree_expect(3, 1, 0, 0);
	tree_expect(4, 0, 0, 0);
	test_daemon();
	test_waitsig();
	tree_check();
	/* And in both directions: a parent can reap its children, and nobody else's. */
	CHECK(waitpid(tree_pid(2), NULL, WNOHANG) == -1 && errno == ECHILD, "a grandchild can be waited for");
	CHECK(waitpid(tree_pid(1), NULL, WNOHANG) == 0, "a child that lives cannot be waited for");
	tree_end();
	pass();
}
