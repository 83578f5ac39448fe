/*
 * title: the three interval timers go on ticking
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <signal.h>
#include <sys/select.h>
#include <sys/time.h>

enum { KINDS = 3, LATE_MS = 10000 };

static const struct itimerval each = {{0, 100000}, {0, 100000}};
static const int signals[KINDS] = {SIGALRM, SIGVTALRM, SIGPROF};
static volatile sig_atomic_t ticks[KINDS];

static void on_tick(int signo)
{
	for (int i = 0; i < KINDS; i++)
		ticks[i] += signals[i] == signo;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART | SA_NODEFER};
	struct itimerval now;
	sig_atomic_t before[KINDS];
	long started;
	int i;

	test_init(argc, argv);
	for (i = 0; i < KINDS; i++) {
		SYS(sigaction(signals[i], &action, NULL));
		SYS(setitimer(i, &each, NULL)); /* ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF */
	}
	test_daemon();
	/* Every tick wakes it. The harness would look at the registers of one that waits in test_waitsig().
	 */
	while (test_go())
		select(0, NULL, NULL, NULL, NULL);
	started = test_now_ms();
	for (i = 0; i < KINDS; i++) {
		SYS(getitimer(i, &now));
		CHECK(now.it_interval.tv_sec == 0 && now.it_interval.tv_usec == each.it_interval.tv_usec,
		      "timer %d: the interval is %ld.%06ld s", i, (long)now.it_interval.tv_sec,
		      (long)now.it_interval.tv_usec);
		before[i] = ticks[i];
	}
	for (i = 0; i < KINDS; i++)
		while (ticks[i] < before[i] + 2)
			CHECK(test_now_ms() - started < LATE_MS, "timer %d ticks no more", i);
	pass();
}
