/*
 * For tests of tasks that share what threads do: descriptors, file system state, signal actions, memory.
 *
 * A case lists tasks with their parents and flags of clone(2). What is shared is proven by what the tasks see
 * of each other: each changes each thing to a value of its own, and all look.
 */
#ifndef SHARING_H
#define SHARING_H

#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tree.h"

enum { SHARING_KINDS = 4, SHARING_MAX = 16, SHARING_FD = 100, SHARING_STACK = 65536 };

struct sharing_task {
	int parent, flags;
};

static const struct sharing_kind {
	const char *name;
	int flag, kcmp;
} sharing_kinds[SHARING_KINDS] = {
	{"descriptors", CLONE_FILES, KCMP_FILES},
	{"the file system state", CLONE_FS, KCMP_FS},
	{"signal actions", CLONE_SIGHAND, KCMP_SIGHAND},
	{"memory", CLONE_VM, KCMP_VM},
};

static volatile int sharing_word;
static int sharing_group[SHARING_KINDS][SHARING_MAX]; /* who has the same, by the number of its first task */

static void sharing_handler(int sig)
{
	(void)sig;
}

static int sharing_obey(void *task)
{
	tree_obey(task);
}

static void sharing_task_clones(struct tree_task *self, int child)
{
	/* Mapped by the parent: in its own memory, which is a copy or the same. */
	char *stack =
		SYS(mmap(NULL, SHARING_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	(void)self;
	tree[child].ids.pid = SYS(
		clone(sharing_obey, stack + SHARING_STACK, tree[child].clone_flags | SIGCHLD, &tree[child]));
	tree[child].alive = true;
}

/* The value of one thing, as the task sees it; descriptors: the bits of those that are open. */
static int sharing_value(int kind)
{
	struct sigaction action;
	char cwd[PATH_MAX];
	int i, value = 0;
	mode_t mask;

	switch (sharing_kinds[kind].flag) {
	case CLONE_FILES:
		for (i = 1; i < SHARING_MAX; i++)
			if (fcntl(SHARING_FD + i, F_GETFD) == FD_CLOEXEC)
				value += i;
		return value;
	case CLONE_FS:
		CHECK(getcwd(cwd, sizeof(cwd)), "getcwd: %m");
		value = atoi(strrchr(cwd, '-') ? strrchr(cwd, '-') + 1 : "0");
		mask = umask(0);
		umask(mask);
		CHECK(mask == (mode_t)(value ? value : 022), "umask %o in directory %s", mask, cwd);
		return value;
	case CLONE_SIGHAND:
		SYS(sigaction(SIGUSR2, NULL, &action));
		for (i = 1; i < SHARING_MAX; i++)
			if (sigismember(&action.sa_mask, SIGRTMIN + i))
				value += i;
		return value;
	default: return sharing_word;
	}
}

/* Change one thing to a value. */
static void sharing_set(int kind, int value)
{
	struct sigaction action = {.sa_handler = sharing_handler};
	char name[16];
	int i, fd;

	switch (sharing_kinds[kind].flag) {
	case CLONE_FILES:
		for (i = 1; i < SHARING_MAX; i++)
			if (fcntl(SHARING_FD + i, F_GETFD) >= 0)
				SYS(close(SHARING_FD + i));
		fd = SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
		SYS(dup3(fd, SHARING_FD + value, O_CLOEXEC));
		SYS(close(fd));
		break;
	case CLONE_FS:
		snprintf(name, sizeof(name), "dir-%d", value);
		SYS(chdir(test_path(name)));
		umask((mode_t)value);
		break;
	case CLONE_SIGHAND:
		sigemptyset(&action.sa_mask);
		sigaddset(&action.sa_mask, SIGRTMIN + value);
		SYS(sigaction(SIGUSR2, &action, NULL));
		break;
	default: sharing_word = value;
	}
}

static void sharing_task_sets(struct tree_task *self, int argument)
{
	(void)self;
	sharing_set(argument / SHARING_MAX, argument % SHARING_MAX);
}

static void sharing_task_tells(struct tree_task *self, int kind)
{
	self->value = sharing_value(kind);
}

static void sharing_compare(int kind, int count, const char *when)
{
	const char *name = sharing_kinds[kind].name;

	for (int i = 0; i < count; i++)
		for (int j = 0; j < i; j++) {
			long differs = SYS(
				syscall(SYS_kcmp, tree_pid(i), tree_pid(j), sharing_kinds[kind].kcmp, 0, 0));

			CHECK((differs == 0) == (sharing_group[kind][i] == sharing_group[kind][j]),
			      "tasks %d and %d %s %s %s", i, j, differs ? "do not share" : "share", name,
			      when);
		}
}

/* Everybody in turn changes the thing; who shares it sees that, and who does not sees what its own group set.
 */
static void sharing_try(int kind, int count, const char *when)
{
	int value[SHARING_MAX], who, other, *group = sharing_group[kind];

	for (who = 0; who < count; who++) {
		tree_step(who, sharing_task_tells, kind);
		value[group[who]] = tree[who].value;
	}
	/* Backwards, that the last word is not that of each group's last task. */
	for (who = count - 1; who >= 0; who--) {
		value[group[who]] = (who + 7) % (SHARING_MAX - 1) + 1;
		tree_step(who, sharing_task_sets, kind * SHARING_MAX + value[group[who]]);
		for (other = 0; other < count; other++) {
			tree_step(other, sharing_task_tells, kind);
			CHECK(tree[other].value == value[group[other]],
			      "%s: task %d sees %d instead of %d after task %d changed its own %s",
			      sharing_kinds[kind].name, other, tree[other].value, value[group[other]], who,
			      when);
		}
	}
}

/* The whole of a case: tasks 1 to count of a list; entry 0 is task 1. */
static _Noreturn void sharing_run(const struct sharing_task *list, int count)
{
	char name[16];
	int who, kind;

	tree_start();
	for (who = 0; who < SHARING_MAX; who++) {
		snprintf(name, sizeof(name), "dir-%d", who);
		SYS(mkdir(name, 0777));
	}
	for (who = 1; who <= count; who++) {
		const struct sharing_task *t = &list[who - 1];

		tree[who].clone_flags = t->flags;
		for (kind = 0; kind < SHARING_KINDS; kind++)
			sharing_group[kind][who] =
				t->flags & sharing_kinds[kind].flag ? sharing_group[kind][t->parent] : who;
	}
	for (who = 1; who <= count; who++)
		tree_step(list[who - 1].parent, sharing_task_clones, who);
	count++;
	for (kind = 0; kind < SHARING_KINDS; kind++) {
		sharing_compare(kind, count, "from the start");
		sharing_try(kind, count, "from the start");
	}
	tree_record();
	test_daemon();
	test_waitsig();
	/* first what was, then what happens to it */
	for (kind = 0; kind < SHARING_KINDS; kind++)
		sharing_compare(kind, count, "now");
	for (kind = 0; kind < SHARING_KINDS; kind++) {
		for (who = 0; who < count; who++) {
			int last = sharing_group[kind][who]; /* its lowest number spoke last */

			tree_step(who, sharing_task_tells, kind);
			CHECK(tree[who].value == (last + 7) % (SHARING_MAX - 1) + 1, "%s: task %d has %d",
			      sharing_kinds[kind].name, who, tree[who].value);
		}
		sharing_try(kind, count, "now");
	}
	tree_check();
	for (who = count - 1; who > 0; who--) {
		tree_end_task(who);
		/* The others have theirs still. */
		for (kind = 0; kind < SHARING_KINDS; kind++)
			sharing_compare(kind, who, "after others ended");
	}
	tree_end();
	pass();
}

#endif
