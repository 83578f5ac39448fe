/*
 * title: of three descriptions of a file two have leases, and the third gets none
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "leases.h"

int main(int argc, char **argv)
{
	int first, second, third;

	test_init(argc, argv);
	leases_catch(SIGRTMIN);
	first = leases_take("file", O_RDONLY, F_RDLCK);
	second = SYS(open("file", O_RDONLY));
	third = SYS(open("file", O_RDONLY));
	SYS(fcntl(third, F_SETLEASE, F_RDLCK));
	SYS(fcntl(first, F_SETSIG, SIGRTMIN));
	SYS(fcntl(third, F_SETSIG, SIGRTMIN));
	test_daemon();
	test_waitsig();
	leases_expect(first, F_RDLCK);
	leases_expect(second, F_UNLCK);
	leases_expect(third, F_RDLCK);
	locks_expect(second, "");
	CHECK(!leases_told, "%d leases were broken", (int)leases_told);
	leases_break("file", O_RDWR);
	CHECK(leases_told == 2, "%d signals for two broken leases", (int)leases_told);
	SYS(fcntl(first, F_SETLEASE, F_UNLCK));
	leases_break("file", O_RDWR);
	SYS(close(third));
	leases_open("file", O_RDWR);
	pass();
}
