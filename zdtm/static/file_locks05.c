/*
 * title: a shared flock(2) lock is that of one description only, of a file that is open twice
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

int main(int argc, char **argv)
{
	int first, second;

	test_init(argc, argv);
	first = locks_file("file");
	second = SYS(open("file", O_RDWR));
	SYS(flock(first, LOCK_SH));
	test_daemon();
	test_waitsig();
	locks_expect(first, "FLOCK ADVISORY READ 0 EOF\n");
	locks_expect(second, "");
	CHECK(flock(second, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the first has no lock");
	SYS(flock(second, LOCK_SH | LOCK_NB));
	locks_expect(second, "FLOCK ADVISORY READ 0 EOF\n");
	SYS(flock(first, LOCK_UN));
	SYS(flock(second, LOCK_EX | LOCK_NB));
	pass();
}
