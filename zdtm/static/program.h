/* For tests of executables: copies of the test's own program, run as another one. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tree.h"

static inline void program_link(const char *link, char *path)
{
	ssize_t n = SYS(readlink(link, path, PATH_MAX - 1));

	path[n] = 0;
}

/* The test's own program under another name, another file. */
static inline void program_copy(const char *to)
{
	char buffer[65536];
	int in = SYS(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	int out = SYS(open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
	ssize_t n;

	while ((n = SYS(read(in, buffer, sizeof(buffer)))) > 0)
		CHECK(write(out, buffer, (size_t)n) == n, "write: %m");
	SYS(close(in));
	SYS(close(out));
}

/* test_shared() of whom it was made by, in a program that has been started anew; the path is an argument. */
static inline void *program_shared(const char *path, size_t size)
{
	int fd = SYS(open(path, O_RDWR | O_CLOEXEC));
	void *memory = SYS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));

	SYS(close(fd));
	return memory;
}

/* A file of /proc/self has to hold these words, each with a NUL behind it. */
static inline void program_check_words(const char *file, const char *const *words)
{
	char *text = test_read_file(file, NULL), *at = text;

	for (; *words; at += strlen(at) + 1, words++)
		CHECK(!strcmp(at, *words), "%s has '%s' instead of '%s'", file, at, *words);
	CHECK(!*at, "%s has '%s' at its end", file, at);
	free(text);
}

static inline void program_check_exe(const char *wanted)
{
	char path[PATH_MAX];

	program_link("/proc/self/exe", path);
	CHECK(!strcmp(path, wanted), "/proc/self/exe is %s instead of %s", path, wanted);
}

/* The name that the kernel shows: that of the file that was to be executed, cut to 15 bytes. */
static inline void program_check_comm(const char *wanted)
{
	char *text = test_read_file("/proc/self/comm", NULL), line[20];

	snprintf(line, sizeof(line), "%.15s\n", wanted);
	CHECK(!strcmp(text, line), "comm is %s instead of %s", text, wanted);
	free(text);
}

#endif
