/*
 * title: children that a thread has made are the process's, for every thread of it
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "thread_kids.h"

static void reaps(int child)
{
	CHECK(tree_reap(0, child) == 0, "task %d ended with wait status %#x", child, tree[child].status);
}

int main(int argc, char **argv)
{
	int status;

	test_init(argc, argv);
	tree_start();
	thread_kids_start();
	tree_fork(0, 1);
	thread_kids_step(thread_kids_fork, 2);
	thread_kids_step(thread_kids_fork, 3);
	/* a session, a group and a zombie among them */
	tree_setsid(2);
	tree_setpgid(3, 3);
	thread_kids_step(thread_kids_fork, 4);
	tree_exit(4, 44);
	tree_fork(2, 5);
	tree_record();
	tree_expect(1, 0, 0, 0);
	tree_expect(2, 0, 2, 2);
	tree_expect(3, 0, 0, 3);
	tree_expect(5, 2, 2, 2);
	test_daemon();
	test_waitsig();
	tree_check();
	/* crosswise: who made it does not matter */
	status = tree_reap(0, 4);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 44, "the thread's zombie has wait status %#x",
	      status);
	tree_exit(1, 0);
	thread_kids_step(reaps, 1);
	tree_exit(3, 0);
	thread_kids_step(reaps, 3);
	thread_kids_step(thread_kids_fork, 6);
	/* They outlive the thread. */
	thread_kids_step(NULL, 0);
	tree_record();
	tree_expect(2, 0, 2, 2);
	tree_expect(6, 0, 0, 0);
	tree_check();
	tree_end();
	pass();
}
