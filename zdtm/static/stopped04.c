/*
 * title: a stopped child with a blocked, pending SIGTSTP goes on when continued
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped child;

	test_init(argc, argv);
	child = stopped_start(SIGSTOP, SIGTSTP);
	SYS(kill(child.pid, SIGTSTP));
	test_daemon();
	test_waitsig();
	stopped_finish(&child);
	pass();
}
