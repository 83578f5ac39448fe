/*
 * title: a flock(2) lock stays with the child when the parent who took it has closed the file
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

#include "child.h"

int main(int argc, char **argv)
{
	pid_t child;
	int fd;

	test_init(argc, argv);
	fd = locks_file("file");
	SYS(flock(fd, LOCK_EX));
	child = child_fork();
	if (!child) {
		child_wait();
		locks_expect(fd, "FLOCK ADVISORY WRITE 0 EOF\n");
		CHECK(!locks_free("file", LOCK_SH), "the child's lock is gone");
		SYS(flock(fd, LOCK_SH | LOCK_NB));
		CHECK(locks_free("file", LOCK_SH), "the child's lock is not this one");
		_exit(0);
	}
	child_await();
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	CHECK(!locks_free("file", LOCK_SH), "the lock is gone");
	child_go();
	test_reap(child);
	CHECK(locks_free("file", LOCK_EX), "the lock is there still");
	pass();
}
