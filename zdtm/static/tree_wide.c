/*
 * title: two hundred children, each with memory and a directory of its own
 * flavours: host ns userns
 * timeout: 60
 */
#include "tree.h"

#include <limits.h>
#include <sys/stat.h>

enum { CHILDREN = 200 };

static const char *home(int who)
{
	char name[16];

	snprintf(name, sizeof(name), "dir-%d", who);
	return test_path(name);
}

static void settles(struct tree_task *self, int who)
{
	SYS(mkdir(home(who), 0755));
	SYS(chdir(home(who)));
	self->value = getpid() * 3 + who;
	tree_own[who] ^= 0xff;
}

static void looks(struct tree_task *self, int who)
{
	char cwd[PATH_MAX];

	CHECK(tree_number(self) == who, "task %d is called %d", tree_number(self), who);
	CHECK(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, home(who)), "task %d is in %s", who, cwd);
	CHECK(self->value == getpid() * 3 + who, "task %d has the value %d", who, self->value);
	tree_own[who] ^= 0xff;
}

int main(int argc, char **argv)
{
	int who;

	test_init(argc, argv);
	tree_start();
	for (who = 1; who <= CHILDREN; who++) {
		tree_fork(0, who);
		tree_step(who, settles, who);
	}
	tree_record();
	test_daemon();
	test_waitsig();
	for (who = 1; who <= CHILDREN; who++)
		tree_step(who, looks, who);
	tree_check();
	tree_end();
	pass();
}
