/*
 * title: events of a directory, a file and a link are queued, unread, up to their deletion: all are there
 * flavours: host ns userns
 * flags: noauto
 */
#include "inotify.h"

enum { ROOM = 16384 };

/* Watches three new objects and lets things happen to them; returns the instance with its queue. */
static int queue(const char *dir)
{
	int fd = SYS(inotify_init1(IN_NONBLOCK)), file;

	SYS(mkdir(dir, 0700));
	SYS(chdir(dir));
	touch("file");
	SYS(symlink("file", "link"));
	SYS(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
	SYS(inotify_add_watch(fd, "file", IN_ALL_EVENTS));
	SYS(inotify_add_watch(fd, "link", IN_ALL_EVENTS | IN_DONT_FOLLOW));
	file = SYS(open("file", O_RDWR));
	CHECK(SYS(write(file, "1", 1)) == 1, "a short write");
	SYS(close(file));
	SYS(chmod("file", 0640));
	SYS(rename("link", "moved"));
	SYS(unlink("moved"));
	SYS(unlink("file"));
	SYS(mkdir("below", 0700));
	SYS(rmdir("below"));
	SYS(chdir(".."));
	SYS(rmdir(dir));
	return fd;
}

/* All of a queue, without what differs between two runs of the same: cookies of renames. */
static ssize_t read_all(int fd, char *buf)
{
	ssize_t size = SYS(read(fd, buf, ROOM)), at;
	struct inotify_event *event;

	for (at = 0; at < size; at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (void *)(buf + at);
		event->cookie = event->cookie != 0;
	}
	return size;
}

int main(int argc, char **argv)
{
	static char reference[ROOM] __attribute__((aligned(8))), got[ROOM] __attribute__((aligned(8)));
	ssize_t want, size;
	int fd;

	test_init(argc, argv);
	want = read_all(queue("reference"), reference);
	fd = queue("watched");
	test_daemon();
	test_waitsig();
	size = read_all(fd, got);
	CHECK(size == want && !memcmp(got, reference, (size_t)want),
	      "%zd bytes of events, not %zd, or others", size, want);
	pass();
}
