/* For tests of pidfds: pidfd_open(2), and what procfs shows of one. */
#ifndef PIDFD_H
#define PIDFD_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static inline int pidfd_of(pid_t pid, unsigned flags)
{
	return (int)SYS(syscall(SYS_pidfd_open, pid, flags));
}

/* 0, or -1 and errno. */
static inline int pidfd_signal(int fd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

static inline unsigned long long pidfd_ino(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

/* The number behind a key of fdinfo, in the base that it is written in. */
static inline long pidfd_info(int fd, const char *key, int base)
{
	char path[64], *text, *at;
	long value;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = test_read_file(path, NULL);
	at = strstr(text, key);
	CHECK(at, "%d has no '%s': it is no pidfd", fd, key);
	value = strtol(at + strlen(key), NULL, base);
	free(text);
	return value;
}

/* Whose it is (-1: of one that has ended), and how it is open. */
static inline void pidfd_check(int fd, pid_t pid, int status, int descriptor)
{
	CHECK(pidfd_info(fd, "\nPid:", 10) == pid && pidfd_info(fd, "\nNSpid:", 10) == pid,
	      "pidfd %d is of pid %ld, in its own namespace %ld, not of %d", fd, pidfd_info(fd, "\nPid:", 10),
	      pidfd_info(fd, "\nNSpid:", 10), pid);
	CHECK(SYS(fcntl(fd, F_GETFD)) == descriptor, "pidfd %d has close-on-exec %d", fd, fcntl(fd, F_GETFD));
	CHECK((pidfd_info(fd, "flags:", 8) & ~O_CLOEXEC) == (O_RDWR | status),
	      "pidfd %d has flags %#lo, not %#o", fd, pidfd_info(fd, "flags:", 8), O_RDWR | status);
	if (pid < 0)
		CHECK(pidfd_signal(fd, 0) == -1 && errno == ESRCH, "pidfd %d is of somebody", fd);
	else
		CHECK(pidfd_signal(fd, 0) == 0, "pidfd %d: %s", fd, strerror(errno));
}

#endif
