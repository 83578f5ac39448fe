/*
 * title: names of datagram sockets below the root of a task, and relative ones that lead upwards
 * flavours: host ns userns
 * flags: suid
 */
#include <sys/stat.h>

#include "child.h"
#include "unix.h"

static void kid(void)
{
	int inside, relative;

	SYS(chdir("jail/sub"));
	relative = unix_socket("../relative");
	SYS(chroot(".."));
	inside = unix_socket("/sub/inside");
	SYS(chmod("inside", 0604));
	child_wait();
	unix_reached(inside, "/sub/inside", "inside");
	unix_reached(relative, "../relative", "relative");
	unix_send_to(inside, "from inside", "/relative");
	unix_next(relative, "from inside", "/sub/inside");
	_exit(0);
}

int main(int argc, char **argv)
{
	struct stat st;
	pid_t child;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	SYS(mkdir("jail", 0755));
	SYS(mkdir("jail/sub", 0755));
	child = SYS(fork());
	if (!child)
		kid();
	test_await(&child_words->ready, 1);
	test_daemon();
	test_waitsig();
	SYS(stat("jail/sub/inside", &st));
	CHECK(st.st_mode == (S_IFSOCK | 0604), "its mode is %o", st.st_mode);
	child_go();
	test_reap(child);
	pass();
}
