/*
 * title: a relative sleep goes on for what was left of it
 * flavours: host ns userns
 * ignore: sigterm
 */
#include "timed.h"

#include <time.h>

int main(int argc, char **argv)
{
	struct timespec length = {TIMED_MS / 1000, TIMED_MS % 1000 * 1000000L};
	long started;

	test_init(argc, argv);
	started = timed_start();
	CHECK(nanosleep(&length, &length) == 0, "nanosleep: %m");
	timed_check(started);
}
