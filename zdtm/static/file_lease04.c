/*
 * title: a lease that is being broken stays with the child when its taker has closed the file
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

#include "child.h"

int main(int argc, char **argv)
{
	pid_t child;
	int fd;

	test_init(argc, argv);
	leases_catch(SIGIO);
	fd = leases_take("file", O_RDWR, F_WRLCK);
	child = child_fork();
	if (!child) {
		child_wait();
		leases_expect(fd, F_UNLCK);
		locks_expect(fd, "LEASE BREAKING UNLCK 0 EOF\n");
		CHECK(!leases_told, "the child was told");
		SYS(fcntl(fd, F_SETLEASE, F_UNLCK));
		leases_open("file", O_RDWR);
		_exit(0);
	}
	child_await();
	SYS(close(fd));
	leases_break("file", O_RDWR);
	CHECK(leases_told == 1, "%d signals", (int)leases_told);
	test_daemon();
	test_waitsig();
	leases_break("file", O_RDONLY);
	CHECK(leases_told == 1, "a ghost of a signal");
	child_go();
	test_reap(child);
	leases_open("file", O_RDWR);
	pass();
}
