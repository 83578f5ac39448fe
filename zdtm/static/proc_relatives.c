/*
 * title: open procfs files of a zombie, of a stopped child and, by that one, of its parent
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_stat(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return SYS(open(path, O_RDONLY));
}

static void check_stat(int fd, pid_t pid, char state)
{
	char text[512];
	ssize_t n = SYS(pread(fd, text, sizeof(text) - 1, 0));
	const char *end;

	text[n] = 0;
	end = strrchr(text, ')');
	CHECK(atoi(text) == pid && end, "the file of pid %d holds %s", pid, text);
	CHECK(!state || end[2] == state, "pid %d has state %c, not %c", pid, end[2], state);
}

static _Noreturn void child(int inherited, pid_t parent, pid_t zombie, int of_zombie)
{
	int of_parent = open_stat(parent);

	raise(SIGSTOP);
	check_stat(of_parent, parent, 0);
	check_stat(inherited, parent, 0);
	check_stat(of_zombie, zombie, 'Z');
	_exit(0);
}

int main(int argc, char **argv)
{
	int inherited, of_zombie, of_child, status;
	pid_t zombie, pid;
	siginfo_t info;

	test_init(argc, argv);
	inherited = open_stat(getpid());
	zombie = SYS(fork());
	if (!zombie)
		_exit(5);
	SYS(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	of_zombie = open_stat(zombie);
	pid = SYS(fork());
	if (!pid)
		child(inherited, getppid(), zombie, of_zombie);
	SYS(waitpid(pid, &status, WUNTRACED));
	of_child = open_stat(pid);
	test_daemon();
	test_waitsig();
	check_stat(inherited, getpid(), 'R');
	check_stat(of_zombie, zombie, 'Z');
	check_stat(of_child, pid, 'T');
	SYS(kill(pid, SIGCONT));
	test_reap(pid);
	CHECK(SYS(waitpid(zombie, &status, 0)) == zombie && WEXITSTATUS(status) == 5, "wait status %#x",
	      status);
	CHECK(pread(of_zombie, &status, 1, 0) == -1 && errno == ESRCH, "the file outlives its process");
	pass();
}
