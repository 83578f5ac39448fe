/*
 * title: children that a terminal stopped for reading and for writing are so by these signals
 * flavours: host ns userns
 */
#include "stopped.h"

int main(int argc, char **argv)
{
	struct stopped reader, writer;

	test_init(argc, argv);
	reader = stopped_start(SIGTTIN, 0);
	writer = stopped_start(SIGTTOU, 0);
	test_daemon();
	test_waitsig();
	stopped_finish(&reader);
	stopped_finish(&writer);
	pass();
}
