/*
 * title: descriptor tables shared by some relatives and not by others: opened and closed in common or alone
 * flavours: host ns userns
 */
#include "files.h"
#include "tree.h"

enum { NEW = 77, OLD = 78, TASKS = 6 };

/* 0, 1 and 4 share one table, 2 and 3 another; 5 has a copy of that. */
static const int table[TASKS] = {0, 0, 2, 2, 0, 5};

static void open_new(struct tree_task *self, int fd)
{
	int got = SYS(open("file", O_RDONLY));

	(void)self;
	SYS(dup2(got, fd));
	SYS(close(got));
}

static void close_it(struct tree_task *self, int fd)
{
	(void)self;
	SYS(close(fd));
}

static void look(struct tree_task *self, int fd)
{
	self->value = fcntl(fd, F_GETFD) >= 0;
}

static void check(int fd, int in)
{
	for (int who = 0; who < TASKS; who++) {
		tree_step(who, look, fd);
		CHECK(tree[who].value == (table[who] == in), "task %d: %d is %s", who, fd,
		      tree[who].value ? "open" : "closed");
	}
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(close(file_make("file", 10, 1)));
	tree_start();
	tree_clone(0, 1, CLONE_FILES);
	tree_clone(0, 2, 0);
	tree_clone(2, 3, CLONE_FILES);
	tree_clone(1, 4, CLONE_FILES);
	tree_clone(3, 5, 0);
	tree_step(4, open_new, OLD);
	test_daemon();
	test_waitsig();
	check(OLD, 0);
	tree_step(1, close_it, OLD);
	check(OLD, -1);
	for (int who = 0; who < TASKS; who++) {
		tree_step(who, open_new, NEW);
		check(NEW, table[who]);
		tree_step(table[who], close_it, NEW);
		check(NEW, -1);
	}
	tree_end();
	pass();
}
