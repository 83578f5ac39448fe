/*
 * title: what was queued and nobody had read is lost, and the queue says so as one that has overflown
 * flavours: host ns userns
 */
#include "inotify.h"

#include <sys/ioctl.h>

enum { EVENT = sizeof(struct inotify_event) + 16 }; /* with a short name */

int main(int argc, char **argv)
{
	int fd, quiet, wd, size;

	test_init(argc, argv);
	fd = SYS(inotify_init1(IN_NONBLOCK));
	quiet = SYS(inotify_init1(IN_NONBLOCK));
	SYS(mkdir("quiet", 0700));
	wd = SYS(inotify_add_watch(fd, ".", IN_CREATE));
	SYS(inotify_add_watch(quiet, "quiet", IN_CREATE));
	touch("a");
	touch("b");
	test_daemon();
	test_waitsig();
	check_watch(fd, wd, IN_CREATE);
	CHECK(fdinfo_count(fd, "inotify wd:") == 1, "it watches more than it did");
	touch("c");
	CHECK(SYS(ioctl(fd, FIONREAD, &size)) == 0, "FIONREAD");
	if (size == 3 * EVENT) { /* nobody has dumped it */
		expect_event(fd, wd, IN_CREATE, "a");
		expect_event(fd, wd, IN_CREATE, "b");
	} else {
		expect_event(fd, -1, IN_Q_OVERFLOW, NULL);
	}
	expect_event(fd, wd, IN_CREATE, "c");
	expect_no_event(fd);
	expect_no_event(quiet);
	pass();
}
