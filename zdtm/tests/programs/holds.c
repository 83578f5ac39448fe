/* holds [PATH [FLAGS]] | memfd: descriptor 3 is what was opened, or a pipe's read end; says so, sleeps until
 * SIGTERM. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

int main(int argc, char **argv)
{
	sigset_t all, before;
	int fds[2];

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	signal(SIGTERM, finish);
	if (argc > 1 && !strcmp(argv[1], "memfd"))
		fds[0] = memfd_create("shared", 0);
	else if (argc > 1)
		fds[0] = open(argv[1], argc > 2 ? atoi(argv[2]) : O_RDONLY);
	else if (pipe(fds) || write(fds[1], "contents", 8) != 8)
		return 1;
	if (fds[0] != 3)
		return 1;
	write(1, "ready\n", 6);
	while (!done)
		sigsuspend(&before);
	return 0;
}
