/*
 * title: a child stopped by a terminal's stop signal is so by the same one
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped child;

	test_init(argc, argv);
	child = stopped_start(SIGTSTP, 0);
	test_daemon();
	test_waitsig();
	stopped_finish(&child);
	pass();
}
