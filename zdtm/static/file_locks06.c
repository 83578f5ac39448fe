/*
 * title: a lock of an open file description keeps others out, and is nobody's
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

int main(int argc, char **argv)
{
	struct flock lock;
	int fd, copy, other;

	test_init(argc, argv);
	fd = locks_file("file");
	copy = SYS(dup(fd));
	SYS(locks_set(fd, F_OFD_SETLK, F_WRLCK, 0, 0));
	test_daemon();
	test_waitsig();
	locks_expect(fd, "OFDLCK ADVISORY WRITE 0 EOF\n");
	other = SYS(open("file", O_RDWR));
	CHECK(locks_set(other, F_OFD_SETLK, F_RDLCK, 8, 1) == -1 && errno == EAGAIN, "the lock is free");
	lock = locks_ask(other, F_GETLK, F_RDLCK, 8, 1);
	CHECK(lock.l_type == F_WRLCK && lock.l_pid == -1, "type %d, pid %d", lock.l_type, lock.l_pid);
	SYS(close(fd)); /* a POSIX lock would go with any descriptor */
	CHECK(locks_set(other, F_OFD_SETLK, F_RDLCK, 8, 1) == -1 && errno == EAGAIN, "the lock is gone");
	SYS(locks_set(copy, F_OFD_SETLK, F_UNLCK, 0, 0));
	SYS(locks_set(other, F_OFD_SETLK, F_WRLCK, 0, 0));
	pass();
}
