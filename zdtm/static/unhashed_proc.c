/*
 * title: a working directory that is the procfs directory of a dead child
 * flavours: host ns userns
 * opts: --link-remap
 */
#include <signal.h>
#include <sys/wait.h>

#include "files.h"

int main(int argc, char **argv)
{
	char path[64], link[PATH_MAX], now[PATH_MAX];
	ssize_t n;
	pid_t pid;

	test_init(argc, argv);
	pid = SYS(fork());
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d", pid);
	SYS(chdir(path));
	SYS(kill(pid, SIGKILL));
	SYS(waitpid(pid, NULL, 0));
	CHECK(!getcwd(link, sizeof(link)) && errno == ENOENT, "getcwd finds it");
	n = SYS(readlink("/proc/self/cwd", link, sizeof(link) - 1));
	link[n] = 0;
	test_daemon();
	test_waitsig();
	CHECK(!getcwd(now, sizeof(now)) && errno == ENOENT, "getcwd finds %s", now);
	n = SYS(readlink("/proc/self/cwd", now, sizeof(now) - 1));
	now[n] = 0;
	CHECK(!strcmp(now, link), "the working directory is %s, was %s", now, link);
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "there is a child");
	pass();
}
