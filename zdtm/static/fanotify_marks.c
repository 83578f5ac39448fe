/*
 * title: marks of a whole file system, of a file without a name, evictable ones; all ways to ignore
 * flavours: host ns
 * flags: suid
 */
#include "fanotify.h"

#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x400
#endif
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x200
#endif
#ifndef FAN_REPORT_PIDFD
#define FAN_REPORT_PIDFD 0x80
#endif

enum { LINES = 8 };

static void make(const char *name)
{
	SYS(close(SYS(open(name, O_RDWR | O_CREAT, 0600))));
}

int main(int argc, char **argv)
{
	static char before[LINES][200], after[LINES][200];
	int fd, tids, n, i, gone;
	struct stat nameless;
	uint64_t events;

	test_init(argc, argv);
	make("ignored");
	make("evictable");
	make("own");
	SYS(mkdir("dir", 0700));
	gone = SYS(open("gone", O_RDWR | O_CREAT, 0600));
	fd = SYS(fanotify_init(FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS, O_RDWR | O_NOATIME));
	mark(fd, FAN_MARK_FILESYSTEM, FAN_MODIFY, ".");
	mark(fd, FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY, "ignored");
	mark(fd, FAN_MARK_IGNORED_MASK, FAN_MODIFY, "own");
	mark(fd, FAN_MARK_EVICTABLE, FAN_OPEN, "evictable");
	mark(fd, FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN | FAN_ONDIR | FAN_EVENT_ON_CHILD,
	     "dir");
	mark(fd, 0, FAN_CLOSE_WRITE, "gone");
	SYS(unlink("gone"));
	tids = SYS(fanotify_init(FAN_REPORT_TID | FAN_REPORT_FID, 0));
	SYS(fanotify_mark(tids, FAN_MARK_ADD, FAN_ATTRIB | FAN_DELETE_SELF, AT_FDCWD, "own"));
	n = mark_lines(fd, before, LINES, " mask:8 ");
	test_daemon();
	test_waitsig();
	CHECK(mark_lines(fd, after, LINES, " mask:8 ") == n && n == 7, "there are %d marks, not %d",
	      mark_lines(fd, after, LINES, " mask:8 "), n);
	for (i = 0; i < n; i++)
		CHECK(!strcmp(before[i], after[i]), "'%s' was '%s'", after[i], before[i]);
	CHECK(fdinfo_count(tids, "fanotify flags:300 ") == 1 && fdinfo_count(tids, "mask:404 ") == 1,
	      "the one that is told of threads is another one");
	events_of(fd, ".");
	i = SYS(open("evictable", O_RDWR));
	CHECK(SYS(write(i, "1", 1)) == 1, "a short write");
	check_events(fd, "evictable", FAN_OPEN | FAN_MODIFY);
	i = SYS(open("ignored", O_RDWR));
	CHECK(SYS(write(i, "1", 1)) == 1, "a short write");
	check_events(fd, "ignored", 0);
	/* Ignored until it is modified. */
	i = SYS(open("own", O_RDWR));
	CHECK(SYS(write(i, "1", 1)) == 1 && SYS(write(i, "1", 1)) == 1, "a short write");
	check_events(fd, "own", FAN_MODIFY);
	SYS(fstat(gone, &nameless));
	SYS(dup2(gone, i));
	SYS(close(gone));
	SYS(close(i));
	events = events_at(fd, &nameless);
	CHECK(events == FAN_CLOSE_WRITE, "what has no name has events %#llx", (unsigned long long)events);
	pass();
}
