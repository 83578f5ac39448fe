/* What cases about timerfd_create(2) have in common. Times are in milliseconds but for intervals:
 * nanoseconds. */
#ifndef TIMERFD_H
#define TIMERFD_H

#include <fcntl.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "fdinfo.h"

/* Value in milliseconds and nanoseconds. */
static inline void timer_start(int fd, int flags, long ms, long ns, time_t interval, long interval_ns)
{
	struct itimerspec spec = {.it_interval = {interval, interval_ns},
				  .it_value = {ms / 1000, ms % 1000 * 1000000 + ns}};

	SYS(timerfd_settime(fd, flags, &spec, NULL));
}

static inline void timer_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	CHECK(SYS(poll(&p, 1, 10000)) == 1, "timer %d does not expire", fd);
}

/* As fdinfo has them, which is not all that have expired. */
static inline uint64_t timer_ticks(int fd)
{
	return fdinfo_number(fd, "ticks:", 10);
}

static inline void check_timer(int fd, clockid_t clock, int settime, int status, int descriptor)
{
	int now = SYS(fcntl(fd, F_GETFL)), cloexec = SYS(fcntl(fd, F_GETFD));

	CHECK(now == (O_RDWR | status) && cloexec == descriptor, "%d has flags %#o, close-on-exec %d", fd,
	      now, cloexec);
	CHECK((clockid_t)fdinfo_number(fd, "clockid:", 10) == clock, "%d has another clock", fd);
	CHECK((int)fdinfo_number(fd, "settime flags:", 8) == settime, "%d was set with flags %#llo", fd,
	      fdinfo_number(fd, "settime flags:", 8));
}

#endif
