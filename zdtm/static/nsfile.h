/* Files of namespaces: which one they are of, and what that belongs to (ioctl_ns(2)). */
#ifndef ZDTM_NSFILE_H
#define ZDTM_NSFILE_H

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zdtm.h"

#define NSFILE_USERNS	 _IO(0xb7, 0x1)
#define NSFILE_PARENT	 _IO(0xb7, 0x2)
#define NSFILE_OWNER_UID _IO(0xb7, 0x4)

static inline ino_t nsfile_inode(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

/* A namespace of a process, by what /proc/PID/ns calls it; 0: the caller's. */
static inline int nsfile_open(pid_t pid, const char *kind)
{
	char path[64];

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	else
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	return SYS(open(path, O_RDONLY | O_CLOEXEC));
}

static inline ino_t nsfile_own(const char *kind)
{
	int fd = nsfile_open(0, kind);
	ino_t it = nsfile_inode(fd);

	SYS(close(fd));
	return it;
}

/* The namespace that one is in (PARENT), or belongs to (USERNS). */
static inline ino_t nsfile_above(int fd, unsigned long request)
{
	int above = SYS(ioctl(fd, request));
	ino_t it = nsfile_inode(above);

	SYS(close(above));
	return it;
}

#endif
