/*
 * title: an open procfs directory of a task that has ended stays open
 * flavours: host ns userns
 */
#include <signal.h>
#include <sys/wait.h>

#include "files.h"

int main(int argc, char **argv)
{
	char path[64], byte;
	const char *name;
	pid_t pid;
	int fd;

	test_init(argc, argv);
	pid = SYS(fork());
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = SYS(open(path, O_RDONLY | O_DIRECTORY));
	SYS(kill(pid, SIGKILL));
	SYS(waitpid(pid, NULL, 0));
	name = file_name(fd);
	test_daemon();
	test_waitsig();
	SYS(fcntl(fd, F_GETFD));
	file_named(fd, name);
	CHECK(kill(pid, 0) < 0 && errno == ESRCH, "pid %d has come back", pid);
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "there is a child");
	CHECK(read(fd, &byte, 1) < 0, "it can be read");
	pass();
}
