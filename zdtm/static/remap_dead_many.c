/*
 * title: many tasks hold procfs files of two that have ended, alone and in common
 * flavours: host ns userns
 */
#include <signal.h>
#include <sys/wait.h>

#include "files.h"
#include "tree.h"

enum { TASKS = 4 };

static char names[2][64], stat_names[2][64];
static char shared_name[PATH_MAX], own_name[PATH_MAX];
static int shared_fd, own_fd;

static void open_own(struct tree_task *self, int which)
{
	(void)self;
	own_fd = SYS(open(stat_names[which], O_RDONLY | O_CLOEXEC));
}

static void remember(struct tree_task *self, int argument)
{
	(void)self, (void)argument;
	strcpy(shared_name, file_name(shared_fd));
	strcpy(own_name, file_name(own_fd));
}

static void check(struct tree_task *self, int position)
{
	(void)self;
	file_named(own_fd, own_name);
	CHECK(SYS(fcntl(own_fd, F_GETFD)) == FD_CLOEXEC, "close-on-exec is gone");
	file_named(shared_fd, shared_name);
	file_position(shared_fd, position);
}

int main(int argc, char **argv)
{
	pid_t pids[2];

	test_init(argc, argv);
	for (int i = 0; i < 2; i++) {
		pids[i] = SYS(fork());
		if (!pids[i])
			for (;;)
				pause();
		snprintf(names[i], sizeof(names[i]), "/proc/%d/status", pids[i]);
		snprintf(stat_names[i], sizeof(stat_names[i]), "/proc/%d/stat", pids[i]);
	}
	shared_fd = SYS(open(names[0], O_RDONLY));
	SYS(lseek(shared_fd, 40, SEEK_SET));
	tree_start();
	for (int who = 1; who <= TASKS; who++) {
		tree_fork(who < 3 ? 0 : 2, who);
		tree_step(who, open_own, who % 2);
	}
	tree_step(0, open_own, 1);
	for (int i = 0; i < 2; i++) {
		SYS(kill(pids[i], SIGKILL));
		SYS(waitpid(pids[i], NULL, 0));
	}
	for (int who = 0; who <= TASKS; who++)
		tree_step(who, remember, 0);
	test_daemon();
	test_waitsig();
	for (int who = 0; who <= TASKS; who++)
		tree_step(who, check, 40);
	tree_end();
	CHECK(kill(pids[0], 0) < 0 && kill(pids[1], 0) < 0, "somebody has come back");
	pass();
}
