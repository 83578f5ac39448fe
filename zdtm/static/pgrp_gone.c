/*
 * title: a group without its leader, and an orphaned one, are groups still
 * flavours: host ns userns
 */
#include "tree.h"

static volatile sig_atomic_t signals;

static void count(int sig)
{
	(void)sig;
	signals++;
}

static void counts(struct tree_task *self, int argument)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};

	(void)self, (void)argument;
	SYS(sigaction(SIGUSR1, &action, NULL));
}

static void has_counted(struct tree_task *self, int wanted)
{
	CHECK(signals == wanted, "task %d got %d signals instead of %d", tree_number(self), (int)signals,
	      wanted);
}

int main(int argc, char **argv)
{
	siginfo_t info = {.si_pid = 0};
	int who;

	test_init(argc, argv);
	tree_start();
	tree_subreaper(0, true);
	/* led by 1, which is gone; members are a brother and a nephew of its */
	tree_fork(0, 1);
	tree_setpgid(1, 1);
	tree_fork(0, 2);
	tree_setpgid(2, 1);
	tree_fork(2, 3);
	tree_leave(0, 1);
	/* led by 5, and orphaned: nobody of its session is outside, as 4 is gone */
	tree_fork(0, 4);
	tree_setsid(4);
	tree_fork(4, 5);
	tree_setpgid(5, 5);
	tree_fork(5, 6);
	tree_leave(0, 4);
	tree_fork(0, 7);
	for (who = 2; who <= 7; who++)
		if (tree[who].alive)
			tree_step(who, counts, 0);
	tree_record();
	tree_expect(2, 0, 0, 1);
	tree_expect(3, 2, 0, 1);
	tree_expect(5, 0, 4, 5);
	tree_expect(6, 5, 4, 5);
	tree_expect(7, 0, 0, 0);
	test_daemon();
	test_waitsig();
	tree_check();
	/* A signal to a group reaches its members, and nobody else. */
	SYS(kill(-tree_pid(1), SIGUSR1));
	SYS(kill(-tree_pid(5), SIGUSR1));
	SYS(kill(-tree_pid(5), SIGUSR1));
	tree_step(2, has_counted, 1);
	tree_step(3, has_counted, 1);
	tree_step(7, has_counted, 0);
	/* A terminal's stop signal does nothing to an orphaned group, and stops another one. */
	SYS(kill(-tree_pid(5), SIGTSTP));
	tree_step(5, tree_task_checks, 0);
	tree_step(6, tree_task_checks, 0);
	SYS(kill(tree_pid(2), SIGTSTP));
	SYS(waitid(P_PGID, (id_t)tree_pid(1), &info, WSTOPPED));
	CHECK(info.si_pid == tree_pid(2) && info.si_status == SIGTSTP, "pid %d stopped with status %d",
	      info.si_pid, info.si_status);
	SYS(kill(tree_pid(2), SIGCONT));
	tree_end();
	pass();
}
