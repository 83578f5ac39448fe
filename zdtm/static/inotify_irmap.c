/*
 * title: names of what is watched are found by searching /etc and a directory that is given
 * flavours: host ns userns
 * flags: suid
 * opts: --force-irmap --irmap-scan-path /usr/bin
 */
#include "inotify.h"

static const char *const names[] = {"/etc/hosts", "/etc/debian_version", "/usr/bin/tac"};
enum { NAMES = sizeof(names) / sizeof(*names) };

int main(int argc, char **argv)
{
	int fd, i, wds[NAMES];

	test_init(argc, argv);
	if (access("/etc", F_OK)) { /* a root of the test's own */
		SYS(mkdir("/etc", 0755));
		mkdir("/usr", 0755);
		mkdir("/usr/bin", 0755);
		for (i = 0; i < NAMES; i++)
			touch(names[i]);
	}
	fd = SYS(inotify_init1(IN_NONBLOCK));
	for (i = 0; i < NAMES; i++) {
		if (access(names[i], R_OK))
			skip("there is no %s", names[i]);
		wds[i] = SYS(inotify_add_watch(fd, names[i], IN_OPEN));
	}
	drain_events(fd);
	test_daemon();
	test_waitsig();
	for (i = 0; i < NAMES; i++) {
		check_watch(fd, wds[i], IN_OPEN);
		drain_events(fd);
		SYS(close(SYS(open(names[i], O_RDONLY))));
		expect_event(fd, wds[i], IN_OPEN, NULL);
	}
	pass();
}
