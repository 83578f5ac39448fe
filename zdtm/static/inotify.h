/* What cases about inotify(7) have in common. */
#ifndef INOTIFY_H
#define INOTIFY_H

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdinfo.h"

static inline void touch(const char *name)
{
	SYS(close(SYS(open(name, O_RDWR | O_CREAT, 0600))));
}

/* The next event, which must be this one; of a name unless that is NULL. */
static inline void expect_event(int fd, int wd, uint32_t mask, const char *name)
{
	char buf[sizeof(struct inotify_event) + 256] __attribute__((aligned(8)));
	const struct inotify_event *event = (const void *)buf;
	/* One alone: the kernel gives as many as there is room for. */
	size_t size = sizeof(*event) + (name ? strlen(name) / 16 * 16 + 16 : 0);

	CHECK(read(fd, buf, size) > 0, "no event %#x of watch %d: %s", mask, wd, strerror(errno));
	CHECK(event->wd == wd && event->mask == mask &&
		      !strcmp(event->len ? event->name : "", name ? name : ""),
	      "event %#x of watch %d (%s), not %#x of %d (%s)", event->mask, event->wd,
	      event->len ? event->name : "", mask, wd, name ? name : "");
}

/* Some event comes that is this one. */
static inline void await_event(int fd, int wd, uint32_t mask)
{
	char buf[65536] __attribute__((aligned(8)));
	const struct inotify_event *event;
	ssize_t n = read(fd, buf, sizeof(buf)), at;

	CHECK(n > 0, "no event %#x of watch %d: %s", mask, wd, strerror(errno));
	for (at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (const void *)(buf + at);
		if (event->wd == wd && event->mask == mask)
			return;
	}
	fail("no event %#x of watch %d among %zd bytes", mask, wd, n);
}

static inline void expect_no_event(int fd)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct inotify_event *event = (const void *)buf;
	ssize_t n = read(fd, buf, sizeof(buf));

	CHECK(n == -1 && errno == EAGAIN, "event %#x of watch %d (%s)", event->mask, event->wd,
	      event->len ? event->name : "");
}

/* Throw away what the dump's own looking around has queued. */
static inline void drain_events(int fd)
{
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* Is this watch there, with the mask as fdinfo has it? */
static inline void check_watch(int fd, int wd, uint32_t mask)
{
	char *text = fdinfo_text(fd), key[32], *at;
	unsigned now = 0;

	snprintf(key, sizeof(key), "inotify wd:%x ", wd);
	at = strstr(text, key);
	CHECK(at, "%d has no watch %d", fd, wd);
	at = strstr(at, " mask:");
	CHECK(at && sscanf(at, " mask:%x", &now) == 1 && now == mask, "watch %d has mask %#x, not %#x", wd,
	      now, mask);
	free(text);
}

#endif
