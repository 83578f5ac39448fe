/* User namespaces below the test's, and what belongs to them. */
#ifndef ZDTM_USERNS_H
#define ZDTM_USERNS_H

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zdtm.h"

#define USERNS_GET_USERNS    _IO(0xb7, 0x1)
#define USERNS_GET_PARENT    _IO(0xb7, 0x2)
#define USERNS_GET_OWNER_UID _IO(0xb7, 0x4)

static inline void userns_write(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = SYS(open(path, O_WRONLY));
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %m", path);
	SYS(close(fd));
}

/*
 * In a child: a user namespace, and others that belong to it (flags of unshare(2)). Its maps are written by
 * the test, which userns_map() has wait for that.
 */
static inline void userns_enter(uint32_t *words, int flags)
{
	SYS(unshare(CLONE_NEWUSER | flags));
	SYS(prctl(PR_SET_DUMPABLE, 1));
	test_post(words);
	test_await(words + 1, 1);
	SYS(setresgid(0, 0, 0));
	SYS(setresuid(0, 0, 0));
}

static inline void userns_map(pid_t pid, uint32_t *words, const char *uids, const char *gids)
{
	test_await(words, 1);
	userns_write(pid, "uid_map", uids);
	userns_write(pid, "gid_map", gids);
	test_post(words + 1);
}

static inline ino_t userns_inode(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

/* What an ioctl_ns(2) of a namespace's file leads to, as an inode; 0: the file itself. */
static inline ino_t userns_ask(const char *path, unsigned long request)
{
	int fd = SYS(open(path, O_RDONLY)), other = request ? SYS(ioctl(fd, request)) : fd;
	ino_t it = userns_inode(other);

	SYS(close(fd));
	if (other != fd)
		SYS(close(other));
	return it;
}

/* The file of a process's namespace; 0 is the caller, whatever it is called where /proc is from. */
static inline void userns_path(char path[64], pid_t pid, const char *kind)
{
	if (pid)
		snprintf(path, 64, "/proc/%d/ns/%s", pid, kind);
	else
		snprintf(path, 64, "/proc/self/ns/%s", kind);
}

/* A namespace of process `pid` belongs to the user namespace that it is in. */
static inline void userns_owns(pid_t pid, const char *kind)
{
	char path[2][64];

	userns_path(path[0], pid, kind);
	userns_path(path[1], pid, "user");
	CHECK(userns_ask(path[0], USERNS_GET_USERNS) == userns_ask(path[1], 0),
	      "the %s namespace of %d is somebody else's", kind, pid);
}

#endif
