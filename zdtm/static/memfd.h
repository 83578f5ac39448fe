/* For tests of memfds: what must be the same of one, and a mapping as /proc/self/maps has it. */
#ifndef MEMFD_H
#define MEMFD_H

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

struct memfd_state {
	char link[PATH_MAX];
	struct stat stat;
	int flags, cloexec, seals;
	off_t position;
};

static inline struct memfd_state memfd_state(int fd)
{
	struct memfd_state state = {.position = SYS(lseek(fd, 0, SEEK_CUR))};
	char name[40];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	SYS(readlink(name, state.link, sizeof(state.link) - 1));
	SYS(fstat(fd, &state.stat));
	state.flags = SYS(fcntl(fd, F_GETFL));
	state.cloexec = SYS(fcntl(fd, F_GETFD));
	state.seals = SYS(fcntl(fd, F_GET_SEALS));
	return state;
}

/* The object itself is a new one; all that is said of it and of the descriptor stays. */
static inline void memfd_check(int fd, const struct memfd_state *was)
{
	struct memfd_state now = memfd_state(fd);

	CHECK(!strcmp(now.link, was->link), "fd %d: %s instead of %s", fd, now.link, was->link);
	CHECK(now.flags == was->flags, "fd %d: flags %#o instead of %#o", fd, now.flags, was->flags);
	CHECK(now.cloexec == was->cloexec, "fd %d: close-on-exec is %d", fd, now.cloexec);
	CHECK(now.seals == was->seals, "fd %d: seals %#x instead of %#x", fd, now.seals, was->seals);
	CHECK(now.position == was->position, "fd %d: at %ld instead of %ld", fd, now.position, was->position);
	CHECK(now.stat.st_mode == was->stat.st_mode, "fd %d: mode %o instead of %o", fd, now.stat.st_mode,
	      was->stat.st_mode);
	CHECK(now.stat.st_uid == was->stat.st_uid && now.stat.st_gid == was->stat.st_gid, "fd %d: of %d:%d",
	      fd, now.stat.st_uid, now.stat.st_gid);
	CHECK(now.stat.st_size == was->stat.st_size, "fd %d: %ld bytes instead of %ld", fd, now.stat.st_size,
	      was->stat.st_size);
	CHECK(now.stat.st_blocks == was->stat.st_blocks, "fd %d: %ld blocks instead of %ld", fd,
	      now.stat.st_blocks, was->stat.st_blocks);
	CHECK(now.stat.st_dev == was->stat.st_dev, "fd %d: another file system", fd);
}

static inline bool memfd_same(int fd, int other)
{
	struct stat a, b;

	SYS(fstat(fd, &a));
	SYS(fstat(other, &b));
	return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Another struct file of the same object. */
static inline int memfd_reopen(int fd, int flags)
{
	char name[40];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return SYS(open(name, flags));
}

/* Device and inode of what is mapped there. */
static inline struct stat memfd_mapped(const void *at)
{
	char *text = test_read_file("/proc/self/maps", NULL), *line, *rest;
	unsigned long start, inode = 0;
	unsigned major, minor;
	struct stat found = {};

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "%lx-%*x %*s %*s %x:%x %lu", &start, &major, &minor, &inode) == 4 &&
		    start == (unsigned long)at) {
			found.st_dev = makedev(major, minor);
			found.st_ino = inode;
		}
	free(text);
	CHECK(found.st_ino, "no file is mapped at %p", at);
	return found;
}

static inline void memfd_check_mapped(const void *at, int fd)
{
	struct stat file, mapped = memfd_mapped(at);

	SYS(fstat(fd, &file));
	CHECK(file.st_dev == mapped.st_dev && file.st_ino == mapped.st_ino, "at %p another file is mapped",
	      at);
}

#endif
