/*
 * title: no expiry is lost: one-shot timers that are started again by their own signals go on
 * flavours: host ns userns
 */
#include "../static/timers.h"

#include <sys/select.h>
#include <sys/time.h>

enum { KINDS = 4, TICK_US = 50000, LATE_MS = 10000 };

static int signals[KINDS];
static volatile sig_atomic_t ticks[KINDS];
static int ids[KINDS];

static void again(int kind)
{
	const struct itimerval once = {.it_value.tv_usec = TICK_US};

	if (!kind)
		SYS(setitimer(ITIMER_REAL, &once, NULL));
	else
		timer_start(ids[kind], TICK_US * 1000LL, 0);
}

static void on_expiry(int signo, siginfo_t *info, void *context)
{
	(void)context;
	for (int i = 0; i < KINDS; i++)
		if (signals[i] == signo) {
			CHECK(!i || info->si_code == SI_TIMER, "kind %d: si_code %d", i, info->si_code);
			ticks[i]++;
			again(i);
		}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_expiry,
				   .sa_flags = SA_RESTART | SA_SIGINFO | SA_NODEFER};
	sig_atomic_t before[KINDS];
	long since;

	test_init(argc, argv);
	for (int i = 0; i < KINDS; i++) {
		signals[i] = i ? SIGRTMIN + i : SIGALRM;
		SYS(sigaction(signals[i], &action, NULL));
		if (i)
			ids[i] = timer_make(CLOCK_MONOTONIC, i == 2 ? SIGEV_THREAD_ID : SIGEV_SIGNAL,
					    signals[i], NULL);
		again(i);
	}
	test_daemon();
	/* Every tick wakes it. The harness would look at the registers of one that waits in test_waitsig().
	 */
	while (test_go())
		select(0, NULL, NULL, NULL, NULL);
	since = test_now_ms();
	for (int i = 0; i < KINDS; i++)
		before[i] = ticks[i];
	for (int i = 0; i < KINDS; i++)
		while (ticks[i] < before[i] + 2)
			CHECK(test_now_ms() - since < LATE_MS, "kind %d has ended", i);
	pass();
}
