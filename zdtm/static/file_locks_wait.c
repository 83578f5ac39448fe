/*
 * title: tasks that wait for locks go on waiting, and get them when they are released
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include <signal.h>

enum { KINDS = 3 };

static struct shared {
	uint32_t about, got[KINDS];
} *shared;
static const char *const names[KINDS] = {"posix", "ofd", "flock"};

static int take(int fd, int kind)
{
	if (kind == 2)
		return flock(fd, LOCK_EX);
	return locks_set(fd, kind ? F_OFD_SETLKW : F_SETLKW, F_WRLCK, 2, 3);
}

static int release(int fd, int kind)
{
	if (kind == 2)
		return flock(fd, LOCK_UN);
	return locks_set(fd, kind ? F_OFD_SETLK : F_SETLK, F_UNLCK, 2, 3);
}

static _Noreturn void child(int kind)
{
	int fd = SYS(open(names[kind], O_RDWR));

	test_post(&shared->about);
	SYS(take(fd, kind));
	test_post(&shared->got[kind]);
	pause();
	_exit(1);
}

/* Is a task in the system call in which it waits? The list of all locks has it behind an arrow. */
static bool waits(pid_t pid)
{
	char *all = test_read_file("/proc/locks", NULL), *line, *rest;
	bool found = false;
	int who;

	for (line = strtok_r(all, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "%*d: -> %*s %*s %*s %d", &who) == 1 && who == pid)
			found = true;
	free(all);
	return found;
}

/* Of a description the list has no pid: then what it is asleep in tells. */
static bool sleeps(pid_t pid)
{
	char path[64], state;
	char *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat = test_read_file(path, NULL);
	state = strrchr(stat, ')')[2];
	free(stat);
	return state == 'S';
}

int main(int argc, char **argv)
{
	pid_t pid[KINDS];
	int fd[KINDS], i;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	for (i = 0; i < KINDS; i++) {
		fd[i] = locks_file(names[i]);
		SYS(take(fd[i], i));
	}
	for (i = 0; i < KINDS; i++) {
		pid[i] = SYS(fork());
		if (!pid[i]) {
			/* a share in the parent's description would be one in its lock */
			for (int j = 0; j < KINDS; j++)
				SYS(close(fd[j]));
			child(i);
		}
	}
	test_await(&shared->about, KINDS);
	for (i = 0; i < KINDS; i++)
		while (!(i == 1 ? sleeps(pid[i]) : waits(pid[i])))
			;
	test_daemon();
	test_waitsig();
	for (i = 0; i < KINDS; i++)
		CHECK(!shared->got[i], "%s: the waiter has got the lock from nobody", names[i]);
	for (i = KINDS - 1; i >= 0; i--) {
		for (int j = 0; j < i; j++)
			CHECK(!shared->got[j], "%s: the waiter has got the lock too early", names[j]);
		SYS(release(fd[i], i));
		test_await(&shared->got[i], 1);
		CHECK(i == 2 ? !locks_free(names[i], LOCK_SH)
			     : locks_ask(fd[i], i ? F_OFD_GETLK : F_GETLK, F_WRLCK, 0, 0).l_pid ==
				       (i ? -1 : pid[i]),
		      "%s: who waited has not got it", names[i]);
	}
	for (i = 0; i < KINDS; i++) {
		SYS(kill(pid[i], SIGKILL));
		SYS(waitpid(pid[i], NULL, 0));
	}
	pass();
}
