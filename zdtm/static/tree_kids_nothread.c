/*
 * title: a child belongs to the thread that made it, where somebody asks for the thread's only
 * flavours: host ns userns
 * flags: noauto
 * cflags: -pthread
 */
#include "thread_kids.h"

/* Is the child one of this thread's own? */
static bool own(int child)
{
	int got = waitpid(tree_pid(child), NULL, WNOHANG | __WNOTHREAD);

	CHECK(got == 0 || (got == -1 && errno == ECHILD), "waitpid for task %d: %m", child);
	return got == 0;
}

static void is_own(int child)
{
	CHECK(own(child), "task %d is not the thread's", child);
}

static void is_foreign(int child)
{
	CHECK(!own(child), "task %d is the thread's", child);
}

static void check(void)
{
	thread_kids_step(is_own, 2);
	thread_kids_step(is_foreign, 1);
	is_own(1);
	is_foreign(2);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	thread_kids_start();
	tree_fork(0, 1);
	thread_kids_step(thread_kids_fork, 2);
	check();
	tree_record();
	test_daemon();
	test_waitsig();
	tree_check();
	check();
	/* Then they are the process's other threads'. */
	thread_kids_step(NULL, 0);
	is_own(2);
	tree_end();
	pass();
}
