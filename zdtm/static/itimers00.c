/*
 * title: interval timers keep what is left and the interval; two of them run on CPU time only
 * flavours: host ns userns
 */
#include "timers.h"

#include <sys/time.h>

enum { KINDS = 3, BURN_MS = 300, TICKS_MS = 30, SLACK_MS = 10000 };

static const char *const names[KINDS] = {"real", "virtual", "prof"};
static const struct itimerval timers[KINDS] = {
	{{7, 11}, {4000, 500000}}, {{0, 0}, {5000, 0}}, {{9000, 999999}, {6000, 250000}}};

static long ms(struct timeval t)
{
	return t.tv_sec * 1000 + t.tv_usec / 1000;
}

static void left(long *all)
{
	struct itimerval now;

	for (int i = 0; i < KINDS; i++) {
		SYS(getitimer(i, &now));
		CHECK(!memcmp(&now.it_interval, &timers[i].it_interval, sizeof(now.it_interval)),
		      "%s: the interval is %ld.%06ld", names[i], (long)now.it_interval.tv_sec,
		      (long)now.it_interval.tv_usec);
		all[i] = ms(now.it_value);
	}
}

int main(int argc, char **argv)
{
	long before[KINDS], after[KINDS], burnt[KINDS], started;

	test_init(argc, argv);
	started = test_now_ms();
	for (int i = 0; i < KINDS; i++)
		SYS(setitimer(i, timers + i, NULL));
	burn(BURN_MS * MS);
	left(before);
	test_daemon();
	test_waitsig();
	left(after);
	/* The kernel adds up to a tick whenever such a timer is set, and a restore takes some CPU time. */
	for (int i = 1; i < KINDS; i++)
		CHECK(after[i] <= before[i] + TICKS_MS && after[i] >= before[i] - 200,
		      "%s: %ld ms are left, there were %ld", names[i], after[i], before[i]);
	CHECK(after[0] <= before[0] && after[0] >= ms(timers[0].it_value) - (test_now_ms() - started) - 1,
	      "real: %ld ms are left, there were %ld", after[0], before[0]);
	burn(BURN_MS * MS);
	left(burnt);
	for (int i = 0; i < KINDS; i++) {
		long passed = after[i] - burnt[i];

		CHECK(passed >= BURN_MS / 2 && passed <= BURN_MS + SLACK_MS, "%s: %ld ms passed", names[i],
		      passed);
	}
	pass();
}
