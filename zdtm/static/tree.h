/*
 * For tests of trees: tasks that do, one step at a time, what the test tells them.
 *
 * A task is known by its number; the test itself is task 0. tree_step() has a task call a function, and
 * returns when that has returned; in between the task sleeps. What tasks know of each other is shared memory,
 * what they have in tree_own is each one's own.
 */
#ifndef TREE_H
#define TREE_H

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

enum { TREE_MAX = 256, TREE_INIT = -1 };

struct tree_ids {
	pid_t pid, ppid, sid, pgid;
};

struct tree_task {
	uint32_t told, done;
	void (*what)(struct tree_task *self, int argument);
	int argument;
	bool alive;
	int clone_flags;     /* to make it with, beside SIGCHLD */
	uint32_t seed;	     /* of tree_own: shared memory has the seed of whom it is shared with */
	int status;	     /* what wait said of it */
	struct tree_ids ids; /* at the latest tree_record() */
	int value;	     /* for the test's own steps */
};

static struct tree_task *tree;
static unsigned char tree_own[10000];

static inline int tree_number(const struct tree_task *task)
{
	return (int)(task - tree);
}

static inline pid_t tree_pid(int who)
{
	return tree[who].ids.pid;
}

static inline _Noreturn void tree_obey(struct tree_task *self)
{
	for (uint32_t step = 1;; step++) {
		test_await(&self->told, step);
		self->what(self, self->argument);
		test_post(&self->done);
	}
}

/* The letter that /proc has for the state of a process: proc(5). */
static inline char tree_state(pid_t pid)
{
	char path[32], *text, *after, state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	text = test_read_file(path, NULL);
	after = strrchr(text, ')');
	CHECK(after, "%s holds %s", path, text);
	state = after[2];
	free(text);
	return state;
}

/* test_await() for something that a child has to do; one that has failed never will. */
static inline void tree_await(pid_t child, uint32_t *word, uint32_t least)
{
	const struct timespec while_it_lives = {0, 200000000};
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_SEQ_CST)) < least)
		if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &while_it_lives, NULL, 0) &&
		    errno == ETIMEDOUT)
			CHECK(tree_state(child) != 'Z', "child %d has ended", child);
}

static inline void tree_step(int who, void (*what)(struct tree_task *self, int argument), int argument)
{
	struct tree_task *task = &tree[who];

	CHECK(task->alive, "task %d has to do something and is not there", who);
	if (!who) {
		what(task, argument);
		return;
	}
	task->what = what;
	task->argument = argument;
	test_post(&task->told);
	tree_await(task->ids.pid, &task->done, task->told);
}

/* After test_init(). */
static inline void tree_start(void)
{
	tree = test_shared(TREE_MAX * sizeof(*tree));
	tree[0].alive = true;
	tree[0].ids.pid = getpid();
	test_fill(tree_own, sizeof(tree_own), 0);
}

static inline void tree_task_clones(struct tree_task *self, int child)
{
	/* Not fork(): that takes no flags. */
	pid_t pid = (pid_t)SYS(syscall(SYS_clone, tree[child].clone_flags | SIGCHLD, 0, 0, 0, 0));

	(void)self;
	if (!pid) {
		tree[child].seed = (uint32_t)child;
		test_fill(tree_own, sizeof(tree_own), tree[child].seed);
		tree_obey(&tree[child]);
	}
	tree[child].ids.pid = pid;
	tree[child].alive = true;
}

/* With flags of clone(2) that leave a memory of its own. */
static inline void tree_clone(int parent, int child, int flags)
{
	tree[child].clone_flags = flags;
	tree_step(parent, tree_task_clones, child);
}

static inline void tree_fork(int parent, int child)
{
	tree_clone(parent, child, 0);
}

static inline void tree_task_setsid(struct tree_task *self, int argument)
{
	(void)self, (void)argument;
	SYS(setsid());
}

static inline void tree_setsid(int who)
{
	tree_step(who, tree_task_setsid, 0);
}

static inline void tree_task_setpgid(struct tree_task *self, int leader)
{
	(void)self;
	SYS(setpgid(0, tree_pid(leader)));
}

static inline void tree_setpgid(int who, int leader)
{
	tree_step(who, tree_task_setpgid, leader);
}

static inline void tree_task_subreaper(struct tree_task *self, int on)
{
	(void)self;
	SYS(prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0));
}

static inline void tree_subreaper(int who, bool on)
{
	tree_step(who, tree_task_subreaper, on);
}

static inline void tree_task_exits(struct tree_task *self, int status)
{
	(void)self;
	_exit(status);
}

/* Wait until a process has ended: then it is a zombie, and its children have another parent. */
static inline void tree_await_end(pid_t pid, void (*cause)(int who, int argument), int who, int argument)
{
	struct pollfd ended = {.events = POLLIN};

	ended.fd = (int)SYS(syscall(SYS_pidfd_open, pid, 0));
	cause(who, argument);
	while (poll(&ended, 1, -1) != 1)
		CHECK(errno == EINTR, "poll: %m");
	SYS(close(ended.fd));
}

static inline void tree_tell_exit(int who, int status)
{
	tree[who].what = tree_task_exits;
	tree[who].argument = status;
	test_post(&tree[who].told);
}

/* The task exits; if nobody reaps it, it is a zombie now. */
static inline void tree_exit(int who, int status)
{
	tree_await_end(tree_pid(who), tree_tell_exit, who, status);
	tree[who].alive = false;
}

static inline void tree_tell_kill(int who, int sig)
{
	SYS(kill(tree_pid(who), sig));
}

static inline void tree_kill(int who, int sig)
{
	tree_await_end(tree_pid(who), tree_tell_kill, who, sig);
	tree[who].alive = false;
}

static inline void tree_task_reaps(struct tree_task *self, int child)
{
	(void)self;
	CHECK(SYS(waitpid(tree_pid(child), &tree[child].status, __WALL)) == tree_pid(child),
	      "another child than task %d was reaped", child);
}

/* The wait status of a task that has ended, from its parent. */
static inline int tree_reap(int parent, int child)
{
	tree_step(parent, tree_task_reaps, child);
	return tree[child].status;
}

/* The task exits, and its parent reaps it. */
static inline void tree_leave(int parent, int who)
{
	int status;

	tree_exit(who, 0);
	status = tree_reap(parent, who);
	CHECK(!status, "task %d ended with wait status %#x", who, status);
}

static inline void tree_task_records(struct tree_task *self, int argument)
{
	(void)argument;
	self->ids = (struct tree_ids){getpid(), getppid(), SYS(getsid(0)), SYS(getpgid(0))};
}

static inline void tree_record(void)
{
	for (int i = 0; i < TREE_MAX; i++)
		if (tree[i].alive)
			tree_step(i, tree_task_records, 0);
}

/* What the test has made is what it means to test: numbers of tasks, living or dead, or TREE_INIT. */
static inline void tree_expect(int who, int parent, int session, int group)
{
	const struct tree_ids *ids = &tree[who].ids;

	CHECK(ids->ppid == (parent == TREE_INIT ? 1 : tree_pid(parent)),
	      "task %d has parent %d from the start", who, ids->ppid);
	CHECK(ids->sid == tree_pid(session), "task %d has session %d from the start", who, ids->sid);
	CHECK(ids->pgid == tree_pid(group), "task %d has group %d from the start", who, ids->pgid);
}

static inline void tree_task_checks(struct tree_task *self, int argument)
{
	const struct tree_ids *was = &self->ids;
	int who = tree_number(self);
	long at = test_differs(tree_own, sizeof(tree_own), self->seed);

	(void)argument;
	CHECK(at < 0, "memory of task %d differs at offset %ld", who, at);
	CHECK(getpid() == was->pid, "task %d is pid %d, was %d", who, getpid(), was->pid);
	CHECK(syscall(SYS_gettid) == was->pid, "task %d is no leader", who);
	CHECK(getppid() == was->ppid, "task %d has parent %d, had %d", who, getppid(), was->ppid);
	CHECK(getsid(0) == was->sid, "task %d has session %d, had %d", who, getsid(0), was->sid);
	CHECK(getpgid(0) == was->pgid, "task %d has group %d, had %d", who, getpgid(0), was->pgid);
}

/* Every task compares what it is with what it was at tree_record(). */
static inline void tree_check(void)
{
	for (int i = 0; i < TREE_MAX; i++)
		if (tree[i].alive)
			tree_step(i, tree_task_checks, 0);
}

/* The task exits, and its parent of now reaps it, if that is one of the test's. */
static inline void tree_end_task(int who)
{
	tree_step(who, tree_task_records, 0);
	for (int parent = 0; parent < TREE_MAX; parent++)
		if (tree[parent].alive && tree_pid(parent) == tree[who].ids.ppid) {
			tree_leave(parent, who);
			return;
		}
	tree_exit(who, 0);
}

/* All tasks exit, highest number first. */
static inline void tree_end(void)
{
	for (int who = TREE_MAX - 1; who > 0; who--)
		if (tree[who].alive)
			tree_end_task(who);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD,
	      "there is a child that nobody knows");
}

#endif
