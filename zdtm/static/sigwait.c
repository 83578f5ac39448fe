/*
 * title: a thread that waits for signals gets the one that comes after the restore, and none before
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "sigwait.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sigwait_run(true);
}
