/*
 * title: monotonic time, read all the time, never goes back
 * flavours: host ns userns
 * flags: noauto
 */
#include "timers.h"

int main(int argc, char **argv)
{
	long long last, now;

	test_init(argc, argv);
	last = clock_ns(CLOCK_MONOTONIC);
	test_daemon();
	while (test_go()) {
		now = clock_ns(CLOCK_MONOTONIC);
		CHECK(now >= last, "it went back by %lld ns", last - now);
		last = now;
	}
	pass();
}
