/*
 * title: a directory is watched, and a file that has lost its name but is open: events come afterwards
 * flavours: host ns userns
 * opts: --link-remap
 */
#include "inotify.h"

int main(int argc, char **argv)
{
	int fd, gone, dir, file;

	test_init(argc, argv);
	SYS(mkdir("dir", 0700));
	fd = SYS(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	gone = SYS(open("dir/file", O_RDWR | O_CREAT, 0600));
	dir = SYS(inotify_add_watch(fd, "dir", IN_ALL_EVENTS));
	file = SYS(inotify_add_watch(fd, "dir/file", IN_ALL_EVENTS));
	SYS(unlink("dir/file"));
	drain_events(fd);
	test_daemon();
	test_waitsig();
	CHECK(fcntl(fd, F_GETFL) == O_NONBLOCK && fcntl(fd, F_GETFD) == FD_CLOEXEC, "flags");
	check_watch(fd, dir, IN_ALL_EVENTS);
	check_watch(fd, file, IN_ALL_EVENTS);
	drain_events(fd);
	CHECK(SYS(write(gone, "1", 1)) == 1, "a short write");
	await_event(fd, file, IN_MODIFY);
	SYS(close(gone));
	await_event(fd, file, IN_IGNORED);
	CHECK(fdinfo_count(fd, "inotify wd:") == 1, "what is gone is watched");
	touch("dir/file");
	expect_event(fd, dir, IN_CREATE, "file");
	expect_event(fd, dir, IN_OPEN, "file");
	expect_event(fd, dir, IN_CLOSE_WRITE, "file");
	expect_no_event(fd);
	pass();
}
