/*
 * title: select for nothing ends when its time is over
 * flavours: host ns userns
 * ignore: sigterm
 */
#include "timed.h"

#include <sys/select.h>

int main(int argc, char **argv)
{
	struct timeval length = {TIMED_MS / 1000, TIMED_MS % 1000 * 1000L};
	long started;
	int ready;

	test_init(argc, argv);
	started = timed_start();
	ready = select(0, NULL, NULL, NULL, &length);
	CHECK(ready == 0, "select returned %d: %m", ready);
	timed_check(started);
}
