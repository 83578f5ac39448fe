/* FIFOs and pipes of tests: making them, what waits in them, whether an end is there. */
#ifndef FIFO_H
#define FIFO_H

#include "zdtm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel adds it to every open(2); the C library has it as 0. */
enum { FD_LARGEFILE = 0100000 };

/* The signal that ends a test may come in the middle of a call. */
#define RETRY(call)                                           \
	({                                                    \
		ssize_t retry_result;                         \
		do                                            \
			retry_result = (call);                \
		while (retry_result == -1 && errno == EINTR); \
		SYS(retry_result);                            \
	})

static inline void fifo_make(const char *name, mode_t mode)
{
	SYS(mkfifo(name, 0600));
	SYS(chmod(name, mode));
}

static inline int fifo_open(const char *name, int flags)
{
	return (int)RETRY(open(name, flags));
}

/* Another description of what a descriptor has open. */
static inline int fd_open_again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return SYS(open(path, flags));
}

static inline void fd_put(int fd, const void *data, size_t size)
{
	size_t done = 0;

	while (done < size)
		done += (size_t)RETRY(write(fd, (const char *)data + done, size - done));
}

/* Reads exactly so much; a pipe may give it in parts. */
static inline void fd_get(int fd, void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = RETRY(read(fd, (char *)data + done, size - done));

		CHECK(n > 0, "%d ends after %zu of %zu bytes", fd, done, size);
		done += (size_t)n;
	}
}

static inline int fd_waiting(int fd)
{
	int waiting;

	SYS(ioctl(fd, FIONREAD, &waiting));
	return waiting;
}

static inline void check_waiting(int fd, int want)
{
	int waiting = fd_waiting(fd);

	CHECK(waiting == want, "%d bytes wait in %d, not %d", waiting, fd, want);
}

static inline void check_empty(int fd)
{
	char c;

	CHECK(read(fd, &c, 1) == -1 && errno == EAGAIN, "%d is not empty, or has ended", fd);
}

static inline void check_ended(int fd)
{
	char c;

	CHECK(RETRY(read(fd, &c, 1)) == 0, "%d has not ended", fd);
}

static inline void check_size(int fd, int want)
{
	int size = SYS(fcntl(fd, F_GETPIPE_SZ));

	CHECK(size == want, "%d takes %d bytes, not %d", fd, size, want);
}

static inline void check_flags(int fd, int status, int descriptor)
{
	int now = SYS(fcntl(fd, F_GETFL)) & ~FD_LARGEFILE, cloexec = SYS(fcntl(fd, F_GETFD));

	CHECK(now == status && cloexec == descriptor, "%d has flags %#o, not %#o, and close-on-exec %d", fd,
	      now, status, cloexec);
}

static inline void check_events(int fd, short events, short want)
{
	struct pollfd event = {.fd = fd, .events = events};

	SYS(poll(&event, 1, 0));
	CHECK(event.revents == want, "%d has events %#x, not %#x", fd, event.revents, want);
}

static inline struct stat fd_stat(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	CHECK(S_ISFIFO(st.st_mode), "%d has mode %#o", fd, st.st_mode);
	return st;
}

static inline void check_same(int one, int other)
{
	struct stat a = fd_stat(one), b = fd_stat(other);

	CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev, "%d and %d are not of one object", one, other);
}

/* The name leads to what the descriptor has open, with the mode that it was given. */
static inline void check_name(const char *name, int fd, mode_t mode)
{
	struct stat st, its = fd_stat(fd);

	SYS(lstat(name, &st));
	CHECK(st.st_mode == (S_IFIFO | mode), "%s has mode %#o", name, st.st_mode);
	CHECK(st.st_ino == its.st_ino && st.st_dev == its.st_dev, "%s is another one than %d", name, fd);
}

/* Until a child sleeps in a system call. */
static inline void await_sleep(pid_t pid)
{
	char path[64];
	bool asleep = false;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (!asleep) {
		char *text = test_read_file(path, NULL);

		asleep = strstr(text, ") S ") != NULL;
		free(text);
	}
}

#endif
