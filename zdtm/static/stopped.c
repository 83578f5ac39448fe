/*
 * title: a child that is stopped stays so, and its parent can still learn of it
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped child;

	test_init(argc, argv);
	child = stopped_start(SIGSTOP, 0);
	test_daemon();
	test_waitsig();
	stopped_finish(&child);
	pass();
}
