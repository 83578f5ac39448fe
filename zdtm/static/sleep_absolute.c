/*
 * title: a sleep until a point of time ends there
 * flavours: host ns userns
 * ignore: sigterm
 */
#include "timed.h"

#include <time.h>

int main(int argc, char **argv)
{
	struct timespec end;
	long started;
	int error;

	test_init(argc, argv);
	started = timed_start();
	SYS(clock_gettime(CLOCK_MONOTONIC, &end));
	end.tv_nsec += TIMED_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
	CHECK(error == 0, "clock_nanosleep: %s", strerror(error));
	timed_check(started);
}
