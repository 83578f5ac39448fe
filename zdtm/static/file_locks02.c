/*
 * title: a flock(2) lock that a child inherited is one lock, and goes with the last who has the file
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include "child.h"

int main(int argc, char **argv)
{
	int fd, copy;
	pid_t child;

	test_init(argc, argv);
	fd = locks_file("file");
	SYS(flock(fd, LOCK_EX));
	copy = SYS(dup(fd));
	child = child_fork();
	if (!child) {
		SYS(close(fd));
		child_wait();
		locks_expect(copy, "FLOCK ADVISORY WRITE 0 EOF\n");
		CHECK(locks_pid(copy) == getppid() || locks_pid(copy) == getpid(), "a lock of pid %d",
		      locks_pid(copy));
		SYS(flock(copy, LOCK_EX | LOCK_NB));
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	locks_expect(fd, "FLOCK ADVISORY WRITE 0 EOF\n");
	locks_expect(copy, "FLOCK ADVISORY WRITE 0 EOF\n");
	CHECK(!locks_free("file", LOCK_SH), "the lock is gone");
	SYS(close(fd));
	SYS(close(copy));
	CHECK(!locks_free("file", LOCK_SH), "the child has no share in the lock");
	child_go();
	test_reap(child);
	CHECK(locks_free("file", LOCK_EX), "the lock is there still");
	pass();
}
