/* Time namespaces below the test's. */
#ifndef ZDTM_TIMENS_H
#define ZDTM_TIMENS_H

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Who has looked at its child: children wait for all of these before they end. */
static uint32_t *timens_looked __attribute__((unused));

#define TIMENS_SLACK 20 /* seconds that a test takes at most */

/* The time namespaces of a process and of its children to come; how far the clock ran before, in seconds. */
struct timens {
	char own[64], kids[64];
	long start, real;
};

static inline long timens_clock(clockid_t clock)
{
	struct timespec now;

	SYS(clock_gettime(clock, &now));
	return now.tv_sec;
}

static inline void timens_link(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	length = SYS(readlink(path, out, size - 1));
	out[length] = 0;
}

static inline void timens_look(pid_t pid, struct timens *it)
{
	timens_link(pid, "time", it->own, sizeof(it->own));
	timens_link(pid, "time_for_children", it->kids, sizeof(it->kids));
	it->start = timens_clock(CLOCK_MONOTONIC);
	it->real = timens_clock(CLOCK_REALTIME);
}

/* For children of the caller: the monotonic clock is ahead by so much, that of the time since boot by one
 * more. */
static inline void timens_make(long seconds)
{
	char path[64], text[64];
	int fd, n = snprintf(text, sizeof(text), "monotonic %ld 0\nboottime %ld 0\n", seconds, seconds + 1);

	SYS(unshare(CLONE_NEWTIME));
	snprintf(path, sizeof(path), "/proc/%d/timens_offsets", gettid());
	fd = SYS(open(path, O_WRONLY | O_CLOEXEC));
	CHECK(write(fd, text, n) == n, "timens_offsets: %m");
	SYS(close(fd));
}

/* The caller's clock is ahead of what `it` saw by so much; that of the time since boot by one second more. */
static inline void timens_check(const struct timens *it, long ahead)
{
	long passed = timens_clock(CLOCK_REALTIME) - it->real;
	long by = timens_clock(CLOCK_MONOTONIC) - it->start - passed;

	CHECK(by - ahead <= 1 && ahead - by <= TIMENS_SLACK, "the clock is %ld s ahead, not %ld", by, ahead);
}

/* A process is in a namespace that has, or had, this name: numbers change with a restore. */
static inline void timens_in(pid_t pid, const char *kids)
{
	char now[64], its[64];

	timens_link(pid, "time", its, sizeof(its));
	timens_link(getpid(), "time_for_children", now, sizeof(now));
	CHECK(!strcmp(its, now), "the child is in %s, and %s was made for it (%s before)", its, now, kids);
}

/* Its children to come are in another one than it is, or not, as before. */
static inline void timens_same(pid_t pid, const struct timens *before)
{
	struct timens now;
	bool was = !strcmp(before->own, before->kids), is;

	timens_look(pid, &now);
	is = !strcmp(now.own, now.kids);
	CHECK(was == is, "in %s, children in %s; were in %s and %s", now.own, now.kids, before->own,
	      before->kids);
}

#endif
