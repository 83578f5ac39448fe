/*
 * title: poll for nothing ends when its time is over
 * flavours: host ns userns
 * ignore: sigterm
 */
#include "timed.h"

#include <poll.h>

int main(int argc, char **argv)
{
	long started;
	int ready;

	test_init(argc, argv);
	started = timed_start();
	ready = poll(NULL, 0, TIMED_MS);
	CHECK(ready == 0, "poll returned %d: %m", ready);
	timed_check(started);
}
