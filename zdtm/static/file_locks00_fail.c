/*
 * title: without --file-locks a process that has some is not dumped, and keeps them
 * flavours: host ns userns
 * flags: crfail
 */
#include "locks.h"

int main(int argc, char **argv)
{
	int r, w, f, o;

	test_init(argc, argv);
	r = locks_file("read");
	w = locks_file("write");
	f = locks_file("flock");
	o = locks_file("ofd");
	SYS(locks_set(r, F_SETLK, F_RDLCK, 0, 0));
	SYS(locks_set(w, F_SETLK, F_WRLCK, 7, 5));
	SYS(flock(f, LOCK_EX));
	SYS(locks_set(o, F_OFD_SETLK, F_WRLCK, 0, 1));
	test_daemon();
	test_waitsig();
	locks_expect(r, "POSIX ADVISORY READ 0 EOF\n");
	locks_expect(w, "POSIX ADVISORY WRITE 7 11\n");
	locks_expect(f, "FLOCK ADVISORY WRITE 0 EOF\n");
	locks_expect(o, "OFDLCK ADVISORY WRITE 0 0\n");
	pass();
}
