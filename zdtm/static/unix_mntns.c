/*
 * title: one name of datagram sockets in two mount namespaces
 * flavours: ns userns
 * flags: suid
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "child.h"
#include "unix.h"

static void kid(const char *name)
{
	struct stat st;
	int fd;

	SYS(unshare(CLONE_NEWNS));
	SYS(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	SYS(mount("none", "dir", "tmpfs", 0, ""));
	fd = unix_socket(name);
	SYS(chmod(name, 0604));
	child_wait();
	unix_reached(fd, name, "second");
	SYS(stat(name, &st));
	CHECK(st.st_mode == (S_IFSOCK | 0604), "its mode is %o", st.st_mode);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *name;
	struct stat st;
	pid_t child;
	int fd;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	SYS(mkdir("dir", 0755));
	name = test_path("dir/socket");
	fd = unix_socket(name);
	SYS(chmod(name, 0640));
	child = SYS(fork());
	if (!child)
		kid(name);
	test_await(&child_words->ready, 1);
	test_daemon();
	test_waitsig();
	unix_reached(fd, name, "first");
	SYS(stat(name, &st));
	CHECK(st.st_mode == (S_IFSOCK | 0640), "its mode is %o", st.st_mode);
	child_go();
	test_reap(child);
	pass();
}
