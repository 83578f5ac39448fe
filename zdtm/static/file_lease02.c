/*
 * title: leases that are being broken go on being so, and nobody is told twice
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

enum { LEASES = 5 };

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int mode, type, breaker, target;
		bool readable; /* by others, meanwhile */
		const char *listed;
	} lease[LEASES] = {
		{"read", O_RDONLY, F_RDLCK, O_RDWR, F_UNLCK, true, "LEASE BREAKING UNLCK 0 EOF\n"},
		{"downgraded", O_RDONLY, F_WRLCK, O_RDONLY, F_RDLCK, false, "LEASE BREAKING READ 0 EOF\n"},
		/* who may write himself cannot keep a read lease */
		{"given up", O_RDWR, F_WRLCK, O_RDONLY, F_RDLCK, false, "LEASE BREAKING READ 0 EOF\n"},
		{"written", O_RDWR, F_WRLCK, O_WRONLY, F_UNLCK, false, "LEASE BREAKING UNLCK 0 EOF\n"},
		/* unlike the first it keeps readers out */
		{"exclusive", O_RDONLY, F_WRLCK, O_WRONLY, F_UNLCK, false, "LEASE BREAKING UNLCK 0 EOF\n"},
	};
	int fd[LEASES], i;

	test_init(argc, argv);
	leases_catch(SIGIO);
	for (i = 0; i < LEASES; i++) {
		fd[i] = leases_take(lease[i].name, lease[i].mode, lease[i].type);
		leases_break(lease[i].name, lease[i].breaker);
	}
	CHECK(leases_told == LEASES, "%d signals", (int)leases_told);
	test_daemon();
	test_waitsig();
	for (i = 0; i < LEASES; i++) {
		leases_expect(fd[i], lease[i].target);
		locks_expect(fd[i], lease[i].listed);
		leases_break(lease[i].name, lease[i].breaker);
		if (lease[i].readable)
			leases_open(lease[i].name, O_RDONLY);
		else
			leases_break(lease[i].name, O_RDONLY);
	}
	CHECK(leases_told == LEASES, "%d signals for %d leases", (int)leases_told, LEASES);
	for (i = 0; i < LEASES; i++) {
		SYS(fcntl(fd[i], F_SETLEASE, lease[i].mode == O_RDONLY ? lease[i].target : F_UNLCK));
		leases_expect(fd[i], lease[i].mode == O_RDONLY ? lease[i].target : F_UNLCK);
		leases_open(lease[i].name, lease[i].breaker);
	}
	pass();
}
