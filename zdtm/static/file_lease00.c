/*
 * title: a read lease and a write lease stay what they were
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

int main(int argc, char **argv)
{
	int r, w;

	test_init(argc, argv);
	leases_catch(SIGIO);
	r = leases_take("read", O_RDONLY, F_RDLCK);
	w = leases_take("write", O_RDWR, F_WRLCK);
	test_daemon();
	test_waitsig();
	leases_expect(r, F_RDLCK);
	leases_expect(w, F_WRLCK);
	locks_expect(r, "LEASE ACTIVE READ 0 EOF\n");
	locks_expect(w, "LEASE ACTIVE WRITE 0 EOF\n");
	CHECK(!leases_told, "%d leases were broken", (int)leases_told);
	leases_open("read", O_RDONLY);
	leases_break("read", O_WRONLY);
	CHECK(leases_told == 1, "%d signals for a broken read lease", (int)leases_told);
	leases_expect(r, F_UNLCK);
	leases_break("write", O_RDONLY);
	CHECK(leases_told == 2, "%d signals for two broken leases", (int)leases_told);
	leases_expect(w, F_RDLCK);
	SYS(fcntl(r, F_SETLEASE, F_UNLCK));
	SYS(fcntl(w, F_SETLEASE, F_UNLCK));
	leases_open("read", O_RDWR);
	leases_open("write", O_RDWR);
	pass();
}
