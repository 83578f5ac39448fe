/*
 * title: locks of memfds, pipes, devices, directories and deleted files; none of a descriptor that was closed
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include <sys/mman.h>

int main(int argc, char **argv)
{
	int memfd, pipes[2], null, dir, ghost, closed, open_still, again;

	test_init(argc, argv);
	memfd = SYS(memfd_create("locked", 0));
	SYS(pipe(pipes));
	null = SYS(open("/dev/null", O_RDWR));
	dir = SYS(open(".", O_RDONLY | O_DIRECTORY));
	ghost = locks_file("ghost");
	SYS(unlink("ghost"));
	SYS(locks_set(memfd, F_SETLK, F_WRLCK, 5, 5));
	SYS(locks_set(memfd, F_OFD_SETLK, F_RDLCK, 100, 0));
	SYS(flock(memfd, LOCK_SH));
	SYS(fcntl(memfd, F_SETLEASE, F_RDLCK));
	SYS(flock(pipes[0], LOCK_EX));
	SYS(locks_set(pipes[1], F_SETLK, F_WRLCK, 0, 0));
	SYS(locks_set(null, F_SETLK, F_WRLCK, getpid(), 1));
	SYS(flock(dir, LOCK_EX));
	SYS(locks_set(ghost, F_SETLK, F_WRLCK, 0, 0));
	SYS(flock(ghost, LOCK_EX));
	/* the lock goes with its descriptor, not with the file: the other one has none */
	closed = locks_file("closed");
	open_still = SYS(open("closed", O_RDWR));
	SYS(flock(closed, LOCK_EX));
	SYS(locks_set(closed, F_SETLK, F_WRLCK, 0, 0));
	SYS(close(closed));
	test_daemon();
	test_waitsig();
	locks_expect(memfd, "FLOCK ADVISORY READ 0 EOF\nPOSIX ADVISORY WRITE 5 9\n"
			    "OFDLCK ADVISORY READ 100 EOF\nLEASE ACTIVE READ 0 EOF\n");
	locks_expect(pipes[0], "FLOCK ADVISORY WRITE 0 EOF\n");
	locks_expect(pipes[1], "POSIX ADVISORY WRITE 0 EOF\n");
	CHECK(strstr(locks_listed(null), "POSIX ADVISORY WRITE "), "/dev/null has '%s'", locks_listed(null));
	locks_expect(dir, "FLOCK ADVISORY WRITE 0 EOF\n");
	locks_expect(ghost, "FLOCK ADVISORY WRITE 0 EOF\nPOSIX ADVISORY WRITE 0 EOF\n");
	locks_expect(open_still, "");
	CHECK(locks_free("closed", LOCK_EX), "a lock that was gone is back");
	again = SYS(open(".", O_RDONLY | O_DIRECTORY));
	CHECK(flock(again, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the directory is free");
	pass();
}
