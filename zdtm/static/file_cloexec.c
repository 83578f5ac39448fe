/*
 * title: each descriptor of a directory keeps its own close-on-exec flag
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const int wanted[] = {0, FD_CLOEXEC, FD_CLOEXEC, 0};
	int fds[4], i;

	test_init(argc, argv);
	fds[0] = SYS(open("/", O_RDONLY | O_DIRECTORY));
	fds[1] = SYS(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	fds[2] = SYS(fcntl(fds[0], F_DUPFD_CLOEXEC, 0));
	fds[3] = SYS(dup(fds[1]));
	test_daemon();
	test_waitsig();
	for (i = 0; i < 4; i++) {
		int flags = SYS(fcntl(fds[i], F_GETFD));

		CHECK(flags == wanted[i], "descriptor %d has flags %d instead of %d", fds[i], flags,
		      wanted[i]);
	}
	pass();
}
