/* Pipes: what is in them, without taking it out; new ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#define PAGE 4096
#define ALL  (1l << 30) /* bytes, more than a pipe can have */

static int waiting(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, &n) ? -errno : n;
}

int zd_waiting(int fd)
{
	return waiting(fd);
}

/* All that is there, without waiting for more, or for room. */
long zd_tee(int from, int to)
{
	long n = tee(from, to, ALL, SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}

/*
 * Is the one buffer of n bytes in p->one a packet? A read does not go on behind one. The pipe is empty
 * afterwards. Only write(2) makes packets, of a page at most.
 */
static int is_packet(struct zd_pipes *p, size_t n)
{
	char page[PAGE + 1];
	ssize_t got;

	if (n > PAGE) {
		for (; n; n -= got) {
			got = read(p->one[0], page, sizeof(page));
			if (got <= 0)
				return got ? -errno : -EIO;
		}
		return 0;
	}
	got = splice(p->one[0], NULL, p->two[1], NULL, n, SPLICE_F_NONBLOCK);
	if (got != (ssize_t)n || write(p->two[1], "", 1) != 1)
		return got < 0 ? -errno : -EIO;
	got = read(p->two[0], page, n + 1);
	if (got == (ssize_t)n)
		return read(p->two[0], page, 1) == 1 ? 1 : -EIO;
	return got == (ssize_t)n + 1 ? 0 : -EIO;
}

static int resize(int fd, long size)
{
	return fcntl(fd, F_GETPIPE_SZ) == size ? 0 : fcntl(fd, F_SETPIPE_SZ, size) < 0;
}

/*
 * Copy what is in a pipe to p->all, which has to be empty: the pages, not their contents. Lengths of its
 * parts go to `parts`, with ZD_PACKET where a read ends behind it. Returns how many parts; -ENOSPC for too
 * many.
 */
int zd_pipe_copy(struct zd_pipes *p, int fd, unsigned *parts, int room)
{
	long size = fcntl(fd, F_GETPIPE_SZ), left = waiting(fd), n;
	int count = 0, packet;

	if (size < 0 || left < 0)
		return size < 0 ? -errno : (int)left;
	if (resize(p->tee[1], size) || resize(p->all[1], size))
		return -errno;
	n = tee(fd, p->tee[1], ALL, SPLICE_F_NONBLOCK);
	if (n < 0)
		return -errno;
	if (n != left)
		return -EMSGSIZE;
	while (left) {
		if (count == room)
			return -ENOSPC;
		n = tee(p->tee[0], p->one[1], ALL, SPLICE_F_NONBLOCK);
		if (n <= 0)
			return n ? -errno : -EIO;
		packet = is_packet(p, n);
		if (packet < 0)
			return packet;
		if (splice(p->tee[0], NULL, p->all[1], NULL, n, SPLICE_F_NONBLOCK) != n)
			return -EIO;
		if (!packet && count && !(parts[count - 1] & ZD_PACKET))
			parts[count - 1] += n;
		else
			parts[count++] = n | (packet ? ZD_PACKET : 0);
		left -= n;
	}
	return count;
}

void zd_pipes_look(int pidfd, struct zd_waiting *pipes, unsigned count)
{
	for (struct zd_waiting *w = pipes; w < pipes + count; w++) {
		int fd = syscall(SYS_pidfd_getfd, pidfd, w->fd, 0);

		w->size = fd < 0 ? -1 : fcntl(fd, F_GETPIPE_SZ);
		w->bytes = w->size < 0 ? -1 : waiting(fd);
		if (fd >= 0)
			close(fd);
	}
}

static void drain(const struct zd_pipes *p)
{
	const int ends[] = {p->one[0], p->two[0], p->tee[0], p->all[0]};
	char page[PAGE];

	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		while (read(ends[i], page, sizeof(page)) > 0)
			;
}

/* One part of a pipe, no packet, or nothing: 1 if it is in the image now, 0 for what is more than that, or
 * -errno. */
static int write_pipe(struct zd_pipes *p, int pidfd, const struct zd_waiting *w, int image)
{
	int fd = syscall(SYS_pidfd_getfd, pidfd, w->fd, 0), parts;
	unsigned part = 0;
	long left, n;

	if (fd < 0)
		return 0;
	parts = w->bytes > 0 ? zd_pipe_copy(p, fd, &part, 1) : w->bytes;
	close(fd);
	if (parts != !!w->bytes || part != (unsigned)w->bytes)
		return 0;
	n = write(image, w->head, w->head_size);
	if (n != (long)w->head_size)
		return n < 0 ? -errno : -ENOSPC;
	for (left = w->bytes; left; left -= n) {
		n = splice(p->all[0], NULL, image, NULL, left, 0);
		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 1;
}

/* Write those that are one part, or empty; the first that is more stops it. How many, or -errno of writing.
 */
int zd_pipes_write(struct zd_pipes *p, int pidfd, struct zd_waiting *pipes, unsigned count, int image)
{
	for (unsigned i = 0; i < count; i++) {
		int r = write_pipe(p, pidfd, pipes + i, image);

		if (r > 0)
			continue;
		drain(p);
		return r ? r : (int)i;
	}
	return (int)count;
}

static int fill_pipe(const int *ends, const struct zd_new_pipe *p)
{
	if (p->size && fcntl(ends[1], F_GETPIPE_SZ) != p->size && fcntl(ends[1], F_SETPIPE_SZ, p->size) < 0)
		return 0;
	if (!p->bytes)
		return 1;
	return !fcntl(ends[1], F_SETFL, O_NONBLOCK) &&
	       write(ends[1], p->data, p->bytes) == (ssize_t)p->bytes && !fcntl(ends[1], F_SETFL, 0);
}

static int place_end(int fd, int number, int flags)
{
	return number < 0 || ((!flags || !fcntl(fd, F_SETFL, flags)) && dup3(fd, number, O_CLOEXEC) >= 0);
}

/* What is not `done` has neither end. */
void zd_pipe_many(struct zd_new_pipe *pipes, unsigned count)
{
	int ends[2];

	for (struct zd_new_pipe *p = pipes; p < pipes + count; p++) {
		if (pipe2(ends, O_CLOEXEC))
			continue;
		p->done = fill_pipe(ends, p) && place_end(ends[0], p->number[0], p->flags[0]);
		if (p->done && !place_end(ends[1], p->number[1], p->flags[1])) {
			p->done = 0;
			if (p->number[0] >= 0)
				close(p->number[0]);
		}
		close(ends[0]);
		close(ends[1]);
	}
}
