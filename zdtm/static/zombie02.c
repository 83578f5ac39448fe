/*
 * title: zombies come back without a SIGCHLD to a parent that handles, blocks or ignores it
 * flavours: host ns userns
 */
#include "tree.h"

/* Parents that differ in what they do with SIGCHLD; each has two zombies. */
enum { HANDLES = 1, BLOCKS, IGNORES, KEEPS_ONE, PARENTS = KEEPS_ONE };

static volatile sig_atomic_t handled;

static void count(int sig)
{
	(void)sig;
	handled++;
}

static sigset_t only_sigchld(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return set;
}

static void prepares(struct tree_task *self, int argument)
{
	struct sigaction action = {.sa_handler = count};
	sigset_t set = only_sigchld();

	(void)argument;
	if (tree_number(self) == HANDLES)
		SYS(sigaction(SIGCHLD, &action, NULL));
	else if (tree_number(self) != IGNORES)
		SYS(sigprocmask(SIG_BLOCK, &set, NULL));
}

/* Once the zombies are there: take the signals off that they have sent. */
static void settles(struct tree_task *self, int argument)
{
	const struct timespec at_once = {0, 0};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set = only_sigchld();
	int who = tree_number(self);

	(void)argument;
	if (who == HANDLES)
		CHECK(handled == 2, "%d signals for two zombies from the start", handled);
	if (who == BLOCKS)
		CHECK(sigtimedwait(&set, NULL, &at_once) == SIGCHLD, "no signal came from the start");
	if (who == IGNORES)
		SYS(sigaction(SIGCHLD, &ignore, NULL));
	/* KEEPS_ONE: the first zombie's stays pending, for the second's there was no room. */
}

static void checks(struct tree_task *self, int argument)
{
	const struct timespec at_once = {0, 0};
	int who = tree_number(self), sig, first = who * 10;
	struct sigaction action;
	sigset_t set = only_sigchld();
	siginfo_t info;

	(void)argument;
	SYS(sigaction(SIGCHLD, NULL, &action));
	CHECK((action.sa_handler == count) == (who == HANDLES) &&
		      (action.sa_handler == SIG_IGN) == (who == IGNORES),
	      "task %d has another action", who);
	CHECK(handled == (who == HANDLES ? 2 : 0), "task %d has handled %d signals", who, handled);
	/* An ignored signal leaves no trace unless it is blocked, which a restore may do; look for both. */
	sig = sigtimedwait(&set, &info, &at_once);
	if (who == KEEPS_ONE) {
		CHECK(sig == SIGCHLD, "the pending signal is lost");
		CHECK(info.si_code == CLD_EXITED && info.si_status == 11 && info.si_pid == tree_pid(first),
		      "the pending signal has code %d, status %d and pid %d", info.si_code, info.si_status,
		      info.si_pid);
		sig = sigtimedwait(&set, NULL, &at_once);
	}
	CHECK(sig == -1 && errno == EAGAIN, "task %d has a signal that nobody sent", who);
}

int main(int argc, char **argv)
{
	int who, status;

	test_init(argc, argv);
	tree_start();
	for (who = 1; who <= PARENTS; who++) {
		tree_fork(0, who);
		tree_step(who, prepares, 0);
		tree_fork(who, who * 10);
		tree_fork(who, who * 10 + 1);
		tree_fork(who, who * 10 + 2); /* lives */
		tree_exit(who * 10, 11);
		/* The handler is done, as the task is back; the next signal is another one. */
		tree_step(who, tree_task_records, 0);
		tree_kill(who * 10 + 1, SIGKILL);
		tree_step(who, settles, 0);
	}
	tree_record();
	test_daemon();
	test_waitsig();
	for (who = 1; who <= PARENTS; who++) {
		tree_step(who, checks, 0);
		CHECK(tree_state(tree_pid(who * 10)) == 'Z', "the exited child of task %d is no zombie", who);
		status = tree_reap(who, who * 10);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 11, "wait status %#x instead of 11 << 8",
		      status);
		status = tree_reap(who, who * 10 + 1);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "wait status %#x instead of 9",
		      status);
	}
	tree_check();
	/* Who ignores the signal has no zombies: tree_end() could not reap. */
	tree_exit(IGNORES * 10 + 2, 0);
	tree_end();
	pass();
}
