/*
 * Descriptors that events are read from: timerfd_create(2), epoll(7), inotify(7), fanotify(7), signalfd(2),
 * and file handles (open_by_handle_at(2)).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "native.h"

#define SET_TICKS  _IOW('T', 0, __u64)	     /* TFD_IOC_SET_TICKS */
#define SET_PARAMS _IOW(0x8A, 0x01, char[8]) /* EPIOCSPARAMS */
#define GET_PARAMS _IOR(0x8A, 0x02, char[8]) /* EPIOCGPARAMS */
#define QUEUE	   (64 * 1024)
#define DRAIN	   4096 /* watches removed, of which each leaves an event */

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

int zd_timerfd_create(int clock, int flags)
{
	return result(timerfd_create(clock, flags));
}

static struct itimerspec spec_of(const long long *v)
{
	return (struct itimerspec){{v[2], v[3]}, {v[0], v[1]}};
}

/* v: value and interval, in seconds and nanoseconds. */
int zd_timerfd_settime(int fd, int flags, const long long *v)
{
	struct itimerspec spec = spec_of(v);

	return result(timerfd_settime(fd, flags, &spec, NULL));
}

int zd_timerfd_gettime(int fd, long long *v)
{
	struct itimerspec spec;
	int r = result(timerfd_gettime(fd, &spec));

	v[0] = spec.it_value.tv_sec;
	v[1] = spec.it_value.tv_nsec;
	v[2] = spec.it_interval.tv_sec;
	v[3] = spec.it_interval.tv_nsec;
	return r;
}

int zd_timerfd_ticks(int fd, unsigned long long ticks)
{
	__u64 value = ticks;

	return result(ioctl(fd, SET_TICKS, &value));
}

int zd_signalfd(unsigned long long mask, int flags)
{
	return result(syscall(SYS_signalfd4, -1, &mask, sizeof(mask), flags));
}

int zd_epoll_create(int flags)
{
	return result(epoll_create1(flags));
}

int zd_epoll_params(int fd, int set, void *params)
{
	return result(set ? ioctl(fd, SET_PARAMS, params) : ioctl(fd, GET_PARAMS, params));
}

/* Is what (efd, tfd, nth) of task pid2 watches the file fd of pid1? As kcmp(2). */
int zd_kcmp_epoll(int pid1, int fd, int pid2, unsigned efd, unsigned tfd, unsigned nth)
{
	struct kcmp_epoll_slot slot = {.efd = efd, .tfd = tfd, .toff = nth};

	return result(syscall(SYS_kcmp, pid1, pid2, KCMP_EPOLL_TFD, fd, &slot));
}

int zd_inotify_init(int flags)
{
	return result(inotify_init1(flags));
}

static int drain(int fd)
{
	char buf[QUEUE];
	int flags = fcntl(fd, F_GETFL);
	ssize_t n;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	return result(fcntl(fd, F_SETFL, flags));
}

/*
 * Watch a path, under the number wd: the kernel counts up, so watches are added and removed until that is
 * reached. Returns -EEXIST when it is behind. For any number: wd 0.
 */
int zd_inotify_watch(int fd, const char *path, unsigned mask, int wd)
{
	int got, r;
	unsigned n;

	for (n = 1;; n++) {
		got = inotify_add_watch(fd, path, mask);
		if (got < 0)
			return -errno;
		if (!wd || got == wd)
			break;
		if (inotify_rm_watch(fd, got))
			return -errno;
		if (got > wd)
			return -EEXIST;
		if (n % DRAIN == 0) {
			r = drain(fd);
			if (r)
				return r;
		}
	}
	r = n > 1 ? drain(fd) : 0;
	return r < 0 ? r : got;
}

/* Change something of two nameless files in turn, whose events are never merged, until no more are queued. */
static int fill(int fd, const int *files)
{
	int before = -1, now, n, r;

	for (;;) {
		for (n = 0; n < DRAIN; n++) {
			r = fchmod(files[n % 2], 0600);
			if (r)
				return -errno;
		}
		if (ioctl(fd, FIONREAD, &now))
			return -errno;
		if (now == before)
			return now;
		before = now;
	}
}

/* Read what fill() has queued, but for the last event. */
static int leave_last(int fd, int size)
{
	char buf[QUEUE];
	const int event = sizeof(struct inotify_event);
	int n;

	for (size -= event; size > 0; size -= n) {
		n = (int)read(fd, buf, size < QUEUE ? (size_t)size : QUEUE);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

/*
 * Let an instance with an empty queue say that it has overflown. For that it watches two files, which are
 * gone again: their IN_IGNORED is what the full queue does not take.
 */
int zd_inotify_overflow(int fd)
{
	int files[2] = {-1, -1}, wds[2] = {-1, -1}, i, r = 0, size;
	char path[32];

	for (i = 0; i < 2 && !r; i++) {
		files[i] = memfd_create("events", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", files[i]);
		wds[i] = files[i] < 0 ? -1 : inotify_add_watch(fd, path, IN_ATTRIB);
		r = wds[i] < 0 ? -errno : 0;
	}
	size = r ? r : fill(fd, files);
	for (i = 0; i < 2; i++) {
		if (wds[i] >= 0 && inotify_rm_watch(fd, wds[i]) && size >= 0)
			size = -errno;
		if (files[i] >= 0)
			close(files[i]);
	}
	return size < 0 ? size : leave_last(fd, size);
}

int zd_fanotify_init(unsigned flags, unsigned event_flags)
{
	return result(fanotify_init(flags, event_flags));
}

int zd_fanotify_mark(int fd, unsigned flags, unsigned long long mask, const char *path)
{
	return result(fanotify_mark(fd, flags, mask, AT_FDCWD, path));
}

int zd_name_to_handle(int fd, void *handle, unsigned *size, int *type)
{
	struct {
		struct file_handle head;
		char room[MAX_HANDLE_SZ];
	} h = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
	int mount, r = result(name_to_handle_at(fd, "", &h.head, &mount, AT_EMPTY_PATH));

	if (r < 0)
		return r;
	*size = h.head.handle_bytes;
	*type = h.head.handle_type;
	memcpy(handle, h.head.f_handle, h.head.handle_bytes);
	return 0;
}

int zd_open_by_handle(int mount, int type, const void *handle, unsigned size, int flags)
{
	struct {
		struct file_handle head;
		char room[MAX_HANDLE_SZ];
	} h = {.head = {.handle_bytes = size, .handle_type = type}};

	if (size > MAX_HANDLE_SZ)
		return -EINVAL;
	memcpy(h.head.f_handle, handle, size);
	return result(open_by_handle_at(mount, &h.head, flags));
}
