/* What cases about fanotify(7) have in common. */
#ifndef FANOTIFY_H
#define FANOTIFY_H

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdinfo.h"

static inline void mark(int fd, unsigned flags, uint64_t mask, const char *path)
{
	SYS(fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path));
}

/* All events of a file that this process has caused, in one mask; others do as they like. */
static inline uint64_t events_at(int fd, const struct stat *want)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct fanotify_event_metadata *event;
	struct stat got;
	uint64_t all = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (event = (const void *)buf; FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n)) {
			CHECK(event->vers == FANOTIFY_METADATA_VERSION && event->fd >= 0,
			      "event %#llx, file %d", (unsigned long long)event->mask, event->fd);
			SYS(fstat(event->fd, &got));
			if (event->pid == getpid() && got.st_ino == want->st_ino &&
			    got.st_dev == want->st_dev)
				all |= event->mask;
			SYS(close(event->fd));
		}
	CHECK(errno == EAGAIN, "reading events: %s", strerror(errno));
	return all;
}

static inline uint64_t events_of(int fd, const char *path)
{
	struct stat want;

	SYS(lstat(path, &want));
	return events_at(fd, &want);
}

static inline void check_events(int fd, const char *path, uint64_t want)
{
	uint64_t got = events_of(fd, path);

	CHECK(got == want, "%s has events %#llx, not %#llx", path, (unsigned long long)got,
	      (unsigned long long)want);
}

/*
 * The marks of a group: what fdinfo says, but for the order, and what is made anew: the number of a mount,
 * and the inode of the one that has the mask `nameless`.
 */
static inline int mark_lines(int fd, char lines[][200], int max, const char *nameless)
{
	char *text = fdinfo_text(fd), *line, *rest = text;
	int n = 0, i;

	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, "fanotify ", 9))
			continue;
		CHECK(n < max, "more than %d marks", max);
		if (strstr(line, "mnt_id:"))
			memset(strstr(line, "mnt_id:") + 7, 'n', strcspn(strstr(line, "mnt_id:") + 7, " "));
		if (nameless && strstr(line, nameless))
			*strstr(line, " ino:") = '\0';
		for (i = n++; i > 0 && strcmp(lines[i - 1], line) > 0; i--)
			memcpy(lines[i], lines[i - 1], 200);
		snprintf(lines[i], 200, "%s", line);
	}
	free(text);
	return n;
}

#endif
