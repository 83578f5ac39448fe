/*
 * title: a thread that waits for signals does not notice: the call is not interrupted
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "sigwait.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sigwait_run(false);
}
