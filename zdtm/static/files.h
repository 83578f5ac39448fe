/* For tests of open files: making them, taking their names away, and looking at what is left. */
#ifndef FILES_H
#define FILES_H

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zdtm.h"

#define DELETED " (deleted)"

/* A new file, open for reading and writing, with `size` bytes that depend on the seed. */
static inline int file_make(const char *name, size_t size, uint32_t seed)
{
	int fd = SYS(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
	unsigned char *data = malloc(size + 1);

	CHECK(data, "out of memory");
	test_fill(data, size, seed);
	CHECK(SYS(write(fd, data, size)) == (ssize_t)size, "%s: a short write", name);
	free(data);
	return fd;
}

/* `size` bytes from `offset` on are those of the seed. */
static inline void file_holds_at(int fd, off_t offset, size_t size, uint32_t seed)
{
	unsigned char *data = malloc(size + 1);
	ssize_t n;
	long at;

	CHECK(data, "out of memory");
	n = SYS(pread(fd, data, size, offset));
	CHECK(n == (ssize_t)size, "%zd bytes at %ld instead of %zu", n, (long)offset, size);
	at = test_differs(data, size, seed);
	CHECK(at < 0, "byte %ld differs", (long)offset + at);
	free(data);
}

static inline struct stat file_stat(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st;
}

/* The whole contents. */
static inline void file_holds(int fd, size_t size, uint32_t seed)
{
	struct stat st = file_stat(fd);

	CHECK((size_t)st.st_size == size, "%ld bytes instead of %zu", (long)st.st_size, size);
	file_holds_at(fd, 0, size, seed);
}

static inline bool file_same(int one, int other)
{
	struct stat a = file_stat(one), b = file_stat(other);

	return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static inline void file_links(int fd, nlink_t count)
{
	struct stat st = file_stat(fd);

	CHECK(st.st_nlink == count, "%lu names instead of %lu", (unsigned long)st.st_nlink,
	      (unsigned long)count);
}

static inline void file_position(int fd, off_t want)
{
	off_t at = SYS(lseek(fd, 0, SEEK_CUR));

	CHECK(at == want, "the position is %ld instead of %ld", (long)at, (long)want);
}

static inline void file_absent(const char *name)
{
	struct stat st;

	CHECK(lstat(name, &st) < 0 && errno == ENOENT, "%s is there", name);
}

/* What /proc shows of a descriptor. */
static inline const char *file_name(int fd)
{
	static char names[4][PATH_MAX];
	static unsigned int next;
	char *name = names[next++ % 4], link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = SYS(readlink(link, name, PATH_MAX - 1));
	name[n] = 0;
	return name;
}

static inline void file_named(int fd, const char *want)
{
	const char *name = file_name(fd);

	CHECK(!strcmp(name, want), "it is called %s instead of %s", name, want);
}

/* A value of fdinfo, in the base given: proc_pid_fdinfo(5). */
static inline long file_info(int fd, const char *key, int base)
{
	char path[64], *text, *at;
	long value;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = test_read_file(path, NULL);
	at = strstr(text, key);
	CHECK(at, "%s has no %s", path, key);
	value = strtol(at + strlen(key), NULL, base);
	free(text);
	return value;
}

#endif
