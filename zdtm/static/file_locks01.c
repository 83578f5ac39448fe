/*
 * title: shared and exclusive flock(2) locks stay, and bear their owner's pid
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

int main(int argc, char **argv)
{
	int shared, exclusive;

	test_init(argc, argv);
	shared = locks_file("shared");
	exclusive = locks_file("exclusive");
	SYS(flock(shared, LOCK_SH));
	SYS(flock(exclusive, LOCK_EX));
	test_daemon();
	test_waitsig();
	locks_expect(shared, "FLOCK ADVISORY READ 0 EOF\n");
	locks_expect(exclusive, "FLOCK ADVISORY WRITE 0 EOF\n");
	CHECK(locks_pid(shared) == getpid() && locks_pid(exclusive) == getpid(), "locks of pids %d and %d",
	      locks_pid(shared), locks_pid(exclusive));
	CHECK(locks_free("shared", LOCK_SH) && !locks_free("shared", LOCK_EX), "not a shared lock");
	CHECK(!locks_free("exclusive", LOCK_SH), "not an exclusive lock");
	SYS(flock(shared, LOCK_UN));
	SYS(close(exclusive));
	CHECK(locks_free("shared", LOCK_EX) && locks_free("exclusive", LOCK_EX),
	      "somebody else has them, too");
	pass();
}
