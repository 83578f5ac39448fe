/*
 * title: children with lower pids than their parents, and leaders with higher ones than their members
 * flavours: host ns userns
 * flags: suid
 */
#include "tree.h"

#include <linux/sched.h>

/* As pids come after they have wrapped around: the first free one from there on downwards. */
static void clones_downwards(struct tree_task *self, int child)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .set_tid_size = 1};
	pid_t want = tree[child].value, pid;

	(void)self;
	do {
		CHECK(want > 300, "no pid is free below %d", tree[child].value);
		args.set_tid = (uintptr_t)&want;
		pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
		if (!pid) {
			tree[child].seed = (uint32_t)child;
			test_fill(tree_own, sizeof(tree_own), tree[child].seed);
			tree_obey(&tree[child]);
		}
	} while (pid == -1 && errno == EEXIST && want--);
	tree[child].ids.pid = SYS(pid);
	tree[child].alive = true;
}

static void fork_at(int parent, int child, pid_t pid)
{
	tree[child].value = pid;
	tree_step(parent, clones_downwards, child);
}

int main(int argc, char **argv)
{
	pid_t base;

	test_init(argc, argv);
	tree_start();
	/* far from where the machine makes new ones */
	base = getpid() < 16000 ? 20000 : 2000;
	fork_at(0, 1, base + 8000);
	fork_at(1, 2, base + 6000);
	fork_at(2, 3, base + 4000);
	fork_at(3, 4, base + 2000);
	fork_at(1, 5, base + 1000);
	fork_at(0, 6, base);
	/* a group led by a child of its member, a session led by a later child */
	tree_setpgid(2, 2);
	tree_setpgid(1, 2);
	tree_setsid(3);
	tree_setpgid(4, 4);
	tree_setpgid(6, 2);
	tree_setsid(5);
	fork_at(5, 7, base + 7000);
	tree_record();
	tree_expect(1, 0, 0, 2);
	tree_expect(2, 1, 0, 2);
	tree_expect(3, 2, 3, 3);
	tree_expect(4, 3, 0, 4);
	tree_expect(5, 1, 5, 5);
	tree_expect(6, 0, 0, 2);
	tree_expect(7, 5, 5, 5);
	CHECK(tree_pid(1) > tree_pid(2) && tree_pid(2) > tree_pid(3) && tree_pid(3) > tree_pid(4) &&
		      tree_pid(4) > tree_pid(5),
	      "the pids do not fall");
	test_daemon();
	test_waitsig();
	tree_check();
	tree_end();
	pass();
}
