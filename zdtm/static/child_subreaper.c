/*
 * title: who adopts the orphans of its descendants is so again, and its child is not
 * flavours: host ns userns
 */
#include "tree.h"

static void looks(struct tree_task *self, int wanted)
{
	int is = -1;

	SYS(prctl(PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0));
	CHECK(is == wanted, "task %d has the attribute %d instead of %d", tree_number(self), is, wanted);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_subreaper(0, true);
	tree_fork(0, 1);
	tree_fork(1, 2);
	tree_subreaper(2, true);
	tree_record();
	test_daemon();
	test_waitsig();
	tree_step(0, looks, 1);
	tree_step(1, looks, 0);
	tree_step(2, looks, 1);
	tree_check();
	/* Of two the nearer one gets the orphan. */
	tree_fork(2, 3);
	tree_fork(3, 4);
	tree_leave(2, 3);
	tree_record();
	tree_expect(4, 2, 0, 0);
	tree_exit(2, 0);
	tree_record();
	tree_expect(4, 0, 0, 0);
	CHECK(tree_reap(1, 2) == 0, "task 2 ended with wait status %#x", tree[2].status);
	tree_end();
	pass();
}
