/*
 * The first process of a private root: starts the test, reaps whatever ends, and ends with the test's status.
 *
 *   init UID GID GROUP PROGRAM [ARGUMENT…]
 *
 * UID, GID and GROUP (one extra group) are as seen inside; "-" in their place keeps root and all
 * capabilities.
 */
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void reopen(int fd, const char *path, int flags)
{
	/* What the harness opened belongs to mounts outside; the tree must hold files of its own root only.
	 */
	int got = open(path, flags, 0666);

	if (got < 0)
		err(3, "%s", path);
	if (got != fd && (dup2(got, fd) < 0 || close(got) < 0))
		err(3, "dup2 for %s", path);
}

static void become(char **ids)
{
	gid_t group;

	if (!strcmp(ids[0], "-"))
		return;
	group = (gid_t)atoi(ids[2]);
	if (setgroups(1, &group) < 0 || setgid((gid_t)atoi(ids[1])) < 0 || setuid((uid_t)atoi(ids[0])) < 0)
		err(3, "become %s:%s+%s", ids[0], ids[1], ids[2]);
}

int main(int argc, char **argv)
{
	pid_t test, gone;
	int status;

	if (argc < 5)
		errx(3, "usage: init UID GID GROUP PROGRAM [ARGUMENT...]");
	reopen(0, "/dev/null", O_RDONLY);
	reopen(1, "/scratch/.zdtm/log", O_WRONLY | O_CREAT | O_APPEND);
	reopen(2, "/scratch/.zdtm/log", O_WRONLY | O_CREAT | O_APPEND);
	if (close_range(3, ~0U, 0) < 0)
		err(3, "close_range");
	if (setsid() < 0)
		err(3, "setsid");
	test = fork();
	if (test < 0)
		err(3, "fork");
	if (test == 0) {
		become(argv + 1);
		if (chdir("/scratch") < 0)
			err(3, "/scratch");
		execv(argv[4], argv + 4);
		err(3, "%s", argv[4]);
	}
	if (chdir("/") < 0)
		err(3, "/");
	do {
		gone = waitpid(-1, &status, 0);
		if (gone < 0)
			err(3, "waitpid");
	} while (gone != test);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
