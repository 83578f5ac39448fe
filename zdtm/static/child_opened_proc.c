/*
 * title: an open /proc file of a child stays usable and does not keep the child from ending
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[64], text[512];
	int fd, status;
	ssize_t n;
	pid_t pid;

	test_init(argc, argv);
	pid = SYS(fork());
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = SYS(open(path, O_RDONLY));
	test_daemon();
	test_waitsig();
	n = SYS(read(fd, text, sizeof(text) - 1));
	text[n] = 0;
	CHECK(atoi(text) == pid && strstr(text, "(child_opened_pr)"), "the file of pid %d holds %s", pid,
	      text);
	SYS(kill(pid, SIGKILL));
	CHECK(SYS(waitpid(pid, &status, 0)) == pid, "another child than %d ended", pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended with wait status %#x",
	      status);
	SYS(lseek(fd, 0, SEEK_SET));
	CHECK(read(fd, text, sizeof(text)) == -1 && errno == ESRCH, "the file outlives its process");
	SYS(close(fd));
	pass();
}
