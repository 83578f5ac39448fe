/* POSIX message queues: all messages of one, which stay in it (mq_overview(7)). */
#include "native.h"

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN_S = 10 };

static unsigned long padded(unsigned long size)
{
	return (size + 7) & ~7ul;
}

static long take(int fd, char *buf, unsigned long size, unsigned long msgsize)
{
	const struct timespec past = {0, 0};
	unsigned long at = 0;

	for (;;) {
		struct zd_message *m = (struct zd_message *)(buf + at);
		long r;

		if (size - at < sizeof(*m) + padded(msgsize))
			return at; /* whoever else has it open sends while we receive: it stays in there */
		r = syscall(SYS_mq_timedreceive, fd, m->text, msgsize, &m->priority, &past);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == ETIMEDOUT ? (long)at : -errno;
		m->size = (unsigned)r;
		at += sizeof(*m) + padded(m->size);
	}
}

static int put(int fd, const struct zd_message *m)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += AGAIN_S;
	while (syscall(SYS_mq_timedsend, fd, m->text, m->size, m->priority, &limit))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* What cannot be peeked at is received and sent again: in the same order it is the same queue. */
long zd_mq_copy(int fd, char *buf, unsigned long size, unsigned long msgsize)
{
	long used = take(fd, buf, size, msgsize);
	int failed = 0;

	for (long at = 0; at < used;) {
		const struct zd_message *m = (const struct zd_message *)(buf + at);
		int r = put(fd, m);

		failed = failed ? failed : r;
		at += sizeof(*m) + padded(m->size);
	}
	return failed ? failed : used;
}

int zd_mq_open(const char *name, int flags, unsigned mode, long most, long msgsize)
{
	struct mq_attr attr = {.mq_maxmsg = most, .mq_msgsize = msgsize};
	long r = syscall(SYS_mq_open, name, flags, mode, flags & O_CREAT ? &attr : NULL);

	return r < 0 ? -errno : (int)r;
}

int zd_mq_unlink(const char *name)
{
	return syscall(SYS_mq_unlink, name) ? -errno : 0;
}

int zd_mq_attr(int fd, long *most, long *msgsize, long *count)
{
	struct mq_attr attr;

	if (syscall(SYS_mq_getsetattr, fd, NULL, &attr))
		return -errno;
	*most = attr.mq_maxmsg;
	*msgsize = attr.mq_msgsize;
	*count = attr.mq_curmsgs;
	return 0;
}

int zd_mq_send(int fd, const char *text, unsigned long size, unsigned priority)
{
	const struct timespec past = {0, 0};

	return syscall(SYS_mq_timedsend, fd, text, size, priority, &past) ? -errno : 0;
}

long zd_fs_type(const char *path)
{
	struct statfs st;

	return statfs(path, &st) ? -errno : st.f_type;
}
