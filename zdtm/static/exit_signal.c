/*
 * title: children that end with another signal than SIGCHLD, or with none, do so
 * flavours: host ns userns
 */
#include "tree.h"

static volatile sig_atomic_t got[2], from, code;

static void note(int sig, siginfo_t *info, void *context)
{
	(void)context;
	got[sig == SIGUSR1]++;
	from = info->si_pid;
	code = info->si_code;
}

static void only_wclone(int who)
{
	CHECK(waitpid(tree_pid(who), NULL, WNOHANG) == -1 && errno == ECHILD, "task %d is an ordinary child",
	      who);
	CHECK(waitpid(tree_pid(who), NULL, WNOHANG | __WCLONE) == 0, "task %d is no child: %m", who);
}

static void clone_with(int who, int sig)
{
	pid_t pid = (pid_t)SYS(syscall(SYS_clone, sig, 0, 0, 0, 0));

	if (!pid)
		tree_obey(&tree[who]);
	tree[who].ids.pid = pid;
	tree[who].alive = true;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
	int status;

	test_init(argc, argv);
	tree_start();
	SYS(sigaction(SIGUSR1, &action, NULL));
	SYS(sigaction(SIGCHLD, &action, NULL));
	clone_with(1, SIGUSR1);
	clone_with(2, 0);
	clone_with(3, SIGUSR1);
	clone_with(4, 0);
	tree_fork(0, 5);
	/* zombies of both kinds */
	tree_exit(3, 33);
	tree_exit(4, 44);
	CHECK(!got[0] && got[1] == 1, "%d SIGCHLD and %d SIGUSR1 from the start", (int)got[0], (int)got[1]);
	got[0] = got[1] = 0;
	tree_record();
	only_wclone(1);
	only_wclone(2);
	test_daemon();
	test_waitsig();
	tree_check();
	CHECK(!got[0] && !got[1], "%d and %d signals came of themselves", (int)got[0], (int)got[1]);
	only_wclone(1);
	only_wclone(2);
	tree_exit(2, 0);
	CHECK(!got[0] && !got[1], "%d SIGCHLD and %d SIGUSR1 for a silent child", (int)got[0], (int)got[1]);
	tree_exit(1, 0);
	CHECK(got[1] == 1 && !got[0], "%d SIGCHLD and %d SIGUSR1 for one child", (int)got[0], (int)got[1]);
	CHECK(from == tree_pid(1) && code == CLD_EXITED, "from pid %d with code %d", (int)from, (int)code);
	tree_exit(5, 0);
	CHECK(got[1] == 1 && got[0] == 1, "%d SIGCHLD for one child, and %d SIGUSR1", (int)got[0],
	      (int)got[1]);
	CHECK(waitpid(tree_pid(3), NULL, WNOHANG) == -1 && errno == ECHILD, "zombie 3 is an ordinary child");
	status = tree_reap(0, 3);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 33, "wait status %#x instead of 33 << 8", status);
	status = tree_reap(0, 4);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 44, "wait status %#x instead of 44 << 8", status);
	CHECK(!tree_reap(0, 1) && !tree_reap(0, 2) && !tree_reap(0, 5), "a child did not end well");
	tree_end();
	pass();
}
