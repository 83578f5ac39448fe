/* io_uring(7): what the kernel tells about a ring, by its answers. */
#include "native.h"

#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int answer(long r)
{
	return r < 0 ? -errno : (int)r;
}

int zd_io_uring_setup(unsigned entries, void *params)
{
	return answer(syscall(SYS_io_uring_setup, entries, params));
}

int zd_io_uring_enter(int fd)
{
	return answer(syscall(SYS_io_uring_enter, fd, 0, 0, 0, 0, 0));
}

int zd_io_uring_register(int fd, unsigned code, unsigned long what, unsigned count)
{
	return answer(syscall(SYS_io_uring_register, fd, code, what, count));
}

/*
 * What fdinfo says while a head is less; the number of bytes. Another process moves it, and puts it back
 * though we be killed meanwhile: one that has our memory, so that it is made at once.
 */
long zd_io_uring_peek(unsigned *head, unsigned by, int fdinfo, char *text, unsigned long size)
{
	volatile long got = -ECHILD;
	int status;
	pid_t child = vfork();

	if (child < 0)
		return -errno;
	if (!child) {
		*(volatile unsigned *)head -= by;
		got = pread(fdinfo, text, size, 0);
		*(volatile unsigned *)head += by;
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return got;
}
