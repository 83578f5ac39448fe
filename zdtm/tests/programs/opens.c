/* Opens a file, "rw" or "r" or "w" as told, maybe deletes it, says "ready" and sleeps: opens.c MODE NAME
 * [gone]. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void end(int sig)
{
	(void)sig;
	_exit(0);
}

int main(int argc, char **argv)
{
	int flags = !strcmp(argv[1], "rw") ? O_RDWR : *argv[1] == 'w' ? O_WRONLY : O_RDONLY;
	int fd = open(argv[2], flags);

	if (fd < 0 || (argc > 3 && unlink(argv[2]) < 0)) {
		perror(argv[2]);
		return 1;
	}
	signal(SIGTERM, end);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
