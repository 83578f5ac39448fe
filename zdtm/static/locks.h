/* File locks: taking them, asking for them as another task or description would, and what procfs lists. */
#ifndef LOCKS_H
#define LOCKS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zdtm.h"

/* A new file of some bytes, open for reading and writing. */
static inline int locks_file(const char *name)
{
	int fd = SYS(open(name, O_CREAT | O_EXCL | O_RDWR, 0666));

	CHECK(write(fd, "0123456789", 10) == 10, "a short write");
	return fd;
}

/* F_SETLK and its like; `length` 0 is up to the end of all files. */
static inline int locks_set(int fd, int command, short type, off_t start, off_t length)
{
	struct flock lock = {.l_type = type, .l_start = start, .l_len = length};

	return fcntl(fd, command, &lock);
}

/* Who is in the way of a lock: his lock, or one of the type F_UNLCK. */
static inline struct flock locks_ask(int fd, int command, short type, off_t start, off_t length)
{
	struct flock lock = {.l_type = type, .l_start = start, .l_len = length};

	SYS(fcntl(fd, command, &lock));
	return lock;
}

/* The descriptor's locks: a line "KIND MODE TYPE START END" each; static memory. */
static inline char *locks_listed(int fd)
{
	static char text[4096];
	char path[64], *all, *line, *rest, kind[16], mode[16], type[16], start[32], end[32];
	size_t used = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	all = test_read_file(path, NULL);
	text[0] = 0;
	for (line = strtok_r(all, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "lock: %*d: %15s %15s %15s %*d %*s %31s %31s", kind, mode, type, start,
			   end) != 5)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s %s %s %s\n", kind, mode,
					 type, start, end);
	}
	free(all);
	return text;
}

/* Whose pid the descriptor's only lock bears. */
static inline pid_t locks_pid(int fd)
{
	char path[64], *all, *line;
	pid_t pid = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	all = test_read_file(path, NULL);
	line = strstr(all, "lock:");
	CHECK(line && sscanf(line, "lock: %*d: %*s %*s %*s %d", &pid) == 1, "fd %d has no lock", fd);
	free(all);
	return pid;
}

static inline void locks_expect(int fd, const char *want)
{
	char *got = locks_listed(fd);

	CHECK(!strcmp(got, want), "fd %d has '%s' instead of '%s'", fd, got, want);
}

/* May somebody else who opens the file take this flock(2) lock now? */
static inline bool locks_free(const char *name, int operation)
{
	int fd = SYS(open(test_path(name), O_RDWR));
	int r = flock(fd, operation | LOCK_NB);

	CHECK(!r || errno == EWOULDBLOCK, "%s: flock: %m", name);
	SYS(close(fd));
	return !r;
}

#endif
