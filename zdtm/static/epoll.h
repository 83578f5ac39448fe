/* What cases about epoll(7) have in common. */
#ifndef EPOLL_H
#define EPOLL_H

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fdinfo.h"

static inline int epoll_make(void)
{
	return SYS(epoll_create1(0));
}

static inline void epoll_add(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	SYS(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
}

static inline void epoll_arm(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	SYS(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &event));
}

/* All that is ready, in the order of data; returns how many these are. */
static inline int epoll_all(int epfd, struct epoll_event *got, int max)
{
	int n = SYS(epoll_wait(epfd, got, max, 0)), i, j;

	for (i = 0; i < n; i++)
		for (j = i + 1; j < n; j++)
			if (got[j].data.u64 < got[i].data.u64) {
				struct epoll_event other = got[i];

				got[i] = got[j];
				got[j] = other;
			}
	return n;
}

/* Exactly one thing is ready. */
static inline void epoll_check(int epfd, uint32_t events, uint64_t data)
{
	struct epoll_event got[4];
	int n = epoll_all(epfd, got, 4);

	CHECK(n == 1 && got[0].events == events && got[0].data.u64 == data,
	      "%d: %d are ready, first %#x of %#llx, not %#x of %#llx", epfd, n, n ? got[0].events : 0,
	      (unsigned long long)(n ? got[0].data.u64 : 0), events, (unsigned long long)data);
}

static inline void epoll_check_none(int epfd)
{
	struct epoll_event got;

	CHECK(SYS(epoll_wait(epfd, &got, 1, 0)) == 0, "%d: %#x of %#llx is ready", epfd, got.events,
	      (unsigned long long)got.data.u64);
}

static inline void count_up(int fd, uint64_t by)
{
	CHECK(SYS(write(fd, &by, sizeof(by))) == sizeof(by), "a short write");
}

static inline void count_out(int fd)
{
	uint64_t got;

	CHECK(SYS(read(fd, &got, sizeof(got))) == sizeof(got), "a short read");
}

#endif
