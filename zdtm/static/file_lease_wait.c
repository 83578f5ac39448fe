/*
 * title: who waits in open(2) for a lease to be given up gets the file then
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

static struct shared {
	uint32_t about, open;
} *shared;

int main(int argc, char **argv)
{
	int fd, next, sig = SIGRTMIN + 3;
	pid_t child;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	leases_catch(sig);
	fd = leases_take("file", O_RDONLY, F_WRLCK);
	SYS(fcntl(fd, F_SETSIG, sig));
	next = leases_take("next", O_RDWR, F_WRLCK);
	SYS(fcntl(next, F_SETSIG, sig));
	child = SYS(fork());
	if (!child) {
		/* a share in the description would be one in the lease */
		SYS(close(fd));
		SYS(close(next));
		test_post(&shared->about);
		fd = SYS(open("file", O_RDONLY));
		test_post(&shared->open);
		pause();
	}
	while (!leases_told) /* the child is in open(2) */
		;
	CHECK(leases_told == 1 && leases_fd == fd, "%d signals for fd %d", (int)leases_told, (int)leases_fd);
	test_daemon();
	test_waitsig();
	CHECK(leases_told == 1, "%d signals for one broken lease", (int)leases_told);
	CHECK(!shared->open, "the child has got the file from nobody");
	leases_expect(fd, F_RDLCK);
	CHECK(fcntl(fd, F_GETSIG) == sig && fcntl(fd, F_GETOWN) == getpid(), "signal %d for pid %d",
	      fcntl(fd, F_GETSIG), fcntl(fd, F_GETOWN));
	SYS(fcntl(fd, F_SETLEASE, F_RDLCK));
	test_await(&shared->open, 1);
	leases_expect(fd, F_RDLCK);
	leases_break("next", O_WRONLY);
	CHECK(leases_told == 2 && leases_fd == next, "%d signals, the last for fd %d", (int)leases_told,
	      (int)leases_fd);
	SYS(kill(child, SIGKILL));
	SYS(waitpid(child, NULL, 0));
	pass();
}
