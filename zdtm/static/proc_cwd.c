/*
 * title: working directories in procfs: one's own, a child's, a sibling's
 * flavours: host ns userns
 */
#include "files.h"
#include "tree.h"

static void enter(struct tree_task *self, int who)
{
	char path[64];

	(void)self;
	snprintf(path, sizeof(path), "/proc/%d/task", tree_pid(who));
	SYS(chdir(path));
}

static void check(struct tree_task *self, int who)
{
	char want[64], cwd[PATH_MAX];
	struct stat st;

	(void)self;
	snprintf(want, sizeof(want), "/proc/%d/task", tree_pid(who));
	CHECK(SYS(getcwd(cwd, sizeof(cwd)) ? 0 : -1) == 0 && !strcmp(cwd, want), "it is %s instead of %s",
	      cwd, want);
	snprintf(want, sizeof(want), "%d/stat", tree_pid(who));
	SYS(stat(want, &st));
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	for (int who = 1; who < 4; who++)
		tree_fork(0, who);
	tree_step(1, enter, 1);
	tree_step(2, enter, 3);
	tree_step(0, enter, 2);
	test_daemon();
	test_waitsig();
	tree_step(1, check, 1);
	tree_step(2, check, 3);
	tree_step(0, check, 2);
	tree_end();
	pass();
}
