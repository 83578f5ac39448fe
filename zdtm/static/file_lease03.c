/*
 * title: a lease that is being broken is that of the description, which a child has too
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

#include "child.h"

int main(int argc, char **argv)
{
	int fd, copy;
	pid_t child;

	test_init(argc, argv);
	leases_catch(SIGIO);
	fd = leases_take("file", O_RDONLY, F_WRLCK);
	leases_break("file", O_RDONLY);
	CHECK(leases_told == 1, "%d signals", (int)leases_told);
	leases_told = 0;
	child = child_fork();
	if (!child) {
		copy = SYS(dup(fd));
		SYS(close(fd));
		child_wait();
		leases_expect(copy, F_RDLCK);
		CHECK(!leases_told, "the child was told");
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	leases_expect(fd, F_RDLCK);
	child_go();
	test_reap(child);
	CHECK(!leases_told, "a ghost of a signal");
	SYS(fcntl(fd, F_SETLEASE, F_RDLCK));
	leases_open("file", O_RDONLY);
	leases_break("file", O_WRONLY);
	CHECK(leases_told == 1, "%d signals for what is broken a second time", (int)leases_told);
	pass();
}
