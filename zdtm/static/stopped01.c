/*
 * title: a stopped child that has got another SIGSTOP is stopped, and continued, once
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped child;

	test_init(argc, argv);
	child = stopped_start(SIGSTOP, 0);
	SYS(kill(child.pid, SIGSTOP));
	test_daemon();
	test_waitsig();
	stopped_finish(&child);
	pass();
}
