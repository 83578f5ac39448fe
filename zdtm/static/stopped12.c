/*
 * title: a stopped child with a SIGSTOP for itself and one for its thread goes on when continued
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped child;

	test_init(argc, argv);
	child = stopped_start(SIGSTOP, 0);
	SYS(kill(child.pid, SIGSTOP));
	SYS(syscall(SYS_tgkill, child.pid, child.pid, SIGSTOP));
	test_daemon();
	test_waitsig();
	stopped_finish(&child);
	pass();
}
