/*
 * title: watches keep numbers with gaps, masks, objects of all kinds: files, directories, links, FIFOs
 * flavours: host ns userns
 */
#include "inotify.h"

enum { GAP = 100, FAR = 40000, MASK = IN_ATTRIB | IN_OPEN };

int main(int argc, char **argv)
{
	static const char odd[] = "a \\name\n\xff\xfe (deleted)";
	int fd, other, same, first, link, fifo, named, once, excluded, far, i;

	test_init(argc, argv);
	fd = SYS(inotify_init1(IN_NONBLOCK));
	other = SYS(inotify_init1(IN_NONBLOCK));
	same = SYS(dup(fd));
	touch("first");
	touch(odd);
	touch("once");
	touch("far");
	SYS(mkdir("excluded", 0700));
	SYS(symlink("first", "link"));
	SYS(mkfifo("fifo", 0600));
	first = SYS(inotify_add_watch(fd, "first", MASK));
	for (i = 0; i < GAP; i++)
		SYS(inotify_rm_watch(fd, SYS(inotify_add_watch(fd, "once", IN_OPEN))));
	link = SYS(inotify_add_watch(fd, "link", MASK | IN_DONT_FOLLOW));
	fifo = SYS(inotify_add_watch(fd, "fifo", MASK));
	named = SYS(inotify_add_watch(fd, odd, MASK));
	once = SYS(inotify_add_watch(fd, "once", MASK | IN_ONESHOT));
	excluded =
		SYS(inotify_add_watch(fd, "excluded", IN_CREATE | IN_ATTRIB | IN_EXCL_UNLINK | IN_ONLYDIR));
	for (i = 0; i < FAR; i++)
		SYS(inotify_rm_watch(other, SYS(inotify_add_watch(other, "far", IN_OPEN))));
	far = SYS(inotify_add_watch(other, "far", MASK));
	drain_events(fd);
	drain_events(other);
	CHECK(link == first + GAP + 1 && far == FAR + 1, "numbers do not count up");
	test_daemon();
	test_waitsig();
	check_watch(same, first, MASK);
	check_watch(same, link, MASK);
	check_watch(same, fifo, MASK);
	check_watch(same, named, MASK);
	check_watch(same, once, MASK | IN_ONESHOT);
	check_watch(same, excluded, IN_CREATE | IN_ATTRIB | IN_EXCL_UNLINK);
	check_watch(other, far, MASK);
	CHECK(fdinfo_count(fd, "inotify wd:") == 6 && fdinfo_count(other, "inotify wd:") == 1,
	      "there are more");
	expect_no_event(fd);
	expect_no_event(other);
	SYS(chmod("first", 0644));
	expect_event(same, first, IN_ATTRIB, NULL);
	SYS(utimensat(AT_FDCWD, "link", NULL, AT_SYMLINK_NOFOLLOW));
	expect_event(fd, link, IN_ATTRIB, NULL);
	SYS(chmod("fifo", 0644));
	expect_event(fd, fifo, IN_ATTRIB, NULL);
	SYS(chmod(odd, 0644));
	expect_event(fd, named, IN_ATTRIB, NULL);
	SYS(chmod("once", 0644));
	expect_event(fd, once, IN_ATTRIB, NULL);
	expect_event(fd, once, IN_IGNORED, NULL);
	touch("excluded/new");
	expect_event(fd, excluded, IN_CREATE, "new");
	SYS(chmod("far", 0644));
	expect_event(other, far, IN_ATTRIB, NULL);
	expect_no_event(fd);
	expect_no_event(other);
	/* The next is one that there has not been. */
	CHECK(SYS(inotify_add_watch(fd, ".", IN_CREATE)) > excluded, "an old number again");
	pass();
}
