/*
 * title: a fanotify group has its marks on inodes and a mount, and what is ignored; events come afterwards
 * flavours: host ns
 * flags: suid
 */
#include "fanotify.h"

enum { LINES = 8 };

int main(int argc, char **argv)
{
	static char before[LINES][200], after[LINES][200];
	const uint64_t seen = FAN_OPEN | FAN_CLOSE;
	int fd, n, i, file;

	test_init(argc, argv);
	SYS(mkdir("dir", 0700));
	file = SYS(open("file", O_RDWR | O_CREAT, 0600));
	SYS(close(SYS(open("dir/child", O_RDWR | O_CREAT, 0600))));
	SYS(close(SYS(open("ignored", O_RDWR | O_CREAT, 0600))));
	fd = SYS(fanotify_init(FAN_NONBLOCK | FAN_CLASS_CONTENT | FAN_UNLIMITED_QUEUE | FAN_CLOEXEC,
			       O_RDONLY | O_LARGEFILE | O_CLOEXEC));
	mark(fd, 0, seen | FAN_EVENT_ON_CHILD | FAN_ONDIR, "dir");
	mark(fd, 0, seen | FAN_MODIFY, "file");
	mark(fd, FAN_MARK_MOUNT, FAN_MODIFY, ".");
	mark(fd, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY, "ignored");
	n = mark_lines(fd, before, LINES, NULL);
	test_daemon();
	test_waitsig();
	CHECK(mark_lines(fd, after, LINES, NULL) == n && n == 5, "there are %d marks, not %d",
	      mark_lines(fd, after, LINES, NULL), n);
	for (i = 0; i < n; i++)
		CHECK(!strcmp(before[i], after[i]), "'%s' was '%s'", after[i], before[i]);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags");
	events_of(fd, ".");
	SYS(close(SYS(open("dir/child", O_RDONLY))));
	check_events(fd, "dir/child", FAN_OPEN | FAN_CLOSE_NOWRITE);
	SYS(close(SYS(open("dir", O_RDONLY))));
	check_events(fd, "dir", FAN_OPEN | FAN_CLOSE_NOWRITE);
	CHECK(SYS(write(file, "1", 1)) == 1, "a short write");
	check_events(fd, "file", FAN_MODIFY);
	i = SYS(open("ignored", O_RDWR));
	CHECK(SYS(write(i, "1", 1)) == 1 && SYS(write(i, "2", 1)) == 1, "a short write");
	check_events(fd, "ignored", 0);
	SYS(fanotify_mark(fd, FAN_MARK_REMOVE, seen | FAN_MODIFY, AT_FDCWD, "file"));
	SYS(fanotify_mark(fd, FAN_MARK_REMOVE | FAN_MARK_MOUNT, FAN_MODIFY, AT_FDCWD, "."));
	CHECK(SYS(write(file, "1", 1)) == 1, "a short write");
	check_events(fd, "file", 0);
	CHECK(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "file") == -1 && errno == ENOENT,
	      "a mark that was removed is there");
	pass();
}
