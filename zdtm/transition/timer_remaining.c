/*
 * title: timers stand still while their task is not there: what was left at the dump is left afterwards
 * flavours: host ns userns
 */
#include "../static/timers.h"

#include <sys/time.h>

enum { KINDS = 4, LEAST_MS = 5 };

static const clockid_t clocks[KINDS] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
static const long long left_ns = 5000 * S;
static int ids[KINDS];

/* The last one is ITIMER_REAL. */
static long long left(int kind)
{
	struct itimerval now;

	if (kind < KINDS - 1)
		return timer_left(ids[kind]);
	SYS(getitimer(ITIMER_REAL, &now));
	return now.it_value.tv_sec * S + now.it_value.tv_usec * 1000LL;
}

/* When the process started, in ticks since boot: a restored one did so later on. */
static long start_time(void)
{
	char *text = test_read_file("/proc/self/stat", NULL), *at = strrchr(text, ')');
	long ticks;

	CHECK(at && sscanf(at + 1,
			   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %ld",
			   &ticks) == 1,
	      "/proc/self/stat is %s", text);
	free(text);
	return ticks;
}

int main(int argc, char **argv)
{
	const struct itimerval real = {{9000, 0}, {5000, 0}};
	long long before[KINDS], first[KINDS], now, clock;
	long started;

	test_init(argc, argv);
	for (int i = 0; i < KINDS - 1; i++) {
		ids[i] = timer_make(clocks[i], SIGEV_SIGNAL, SIGUSR1, NULL);
		timer_start(ids[i], left_ns, 9000 * S);
	}
	SYS(setitimer(ITIMER_REAL, &real, NULL));
	burn(100 * MS); /* more than a tick of the start time; and some of the timers has to be over */
	started = start_time();
	/* Time since boot may stand still in between, too: in a time namespace. */
	clock = clock_ns(CLOCK_REALTIME);
	for (int i = 0; i < KINDS; i++)
		first[i] = before[i] = left(i);
	test_daemon();
	while (test_go())
		for (int i = 0; i < KINDS; i++) {
			now = left(i);
			CHECK(now <= before[i], "timer %d: %lld ns are left, there were %lld", i, now,
			      before[i]);
			before[i] = now;
		}
	for (int i = 0; i < KINDS; i++) {
		long long passed = clock_ns(CLOCK_REALTIME) - clock, ran = first[i] - left(i);

		CHECK(first[i] <= left_ns - 100 * MS, "timer %d: %lld ns at first", i, first[i]);
		if (start_time() != started)
			CHECK(ran <= passed - LEAST_MS * MS,
			      "timer %d ran on while it was not there: %lld of %lld ns", i, ran, passed);
		else
			CHECK(ran >= passed - S, "timer %d ran for %lld of %lld ns", i, ran, passed);
	}
	pass();
}
