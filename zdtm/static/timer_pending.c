/*
 * title: the blocked signal of a one-shot timer that has expired is pending, once
 * flavours: host ns userns
 */
#include "timers.h"

enum { TIMERS = 4 };

int main(int argc, char **argv)
{
	const clockid_t clocks[TIMERS] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC};
	const int notify[TIMERS] = {SIGEV_SIGNAL, SIGEV_THREAD_ID, SIGEV_SIGNAL, SIGEV_SIGNAL};
	const int signals[TIMERS] = {SIGUSR1, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2};
	char values[TIMERS];
	int ids[TIMERS];
	siginfo_t info;

	test_init(argc, argv);
	for (int i = 0; i < TIMERS; i++) {
		timer_block(signals[i]);
		ids[i] = timer_make(clocks[i], notify[i], signals[i], values + i);
		timer_start(ids[i], 1, 0);
		timer_await_pending(signals[i]);
	}
	/* Somebody else's signal of the same number is no timer's. */
	SYS(sigqueue(getpid(), signals[3], (union sigval){.sival_int = 77}));
	test_daemon();
	test_waitsig();
	for (int i = 0; i < TIMERS; i++) {
		CHECK(!timer_left(ids[i]) && !timer_interval(ids[i]), "timer %d runs", i);
		CHECK(timer_dequeue(signals[i], 0, &info), "timer %d: no signal", i);
		if (info.si_code == SI_QUEUE) {
			CHECK(i == 3 && info.si_int == 77 && info.si_pid == getpid(), "timer %d: value %d", i,
			      info.si_int);
			CHECK(timer_dequeue(signals[i], 0, &info), "timer %d: no signal", i);
			timer_check_info(&info, ids[i], values + i);
		} else {
			timer_check_info(&info, ids[i], values + i);
			CHECK(i != 3 || (timer_dequeue(signals[i], 0, &info) && info.si_int == 77),
			      "the queued signal is gone");
		}
		CHECK(!timer_dequeue(signals[i], 0, &info), "timer %d: one signal too many", i);
		timer_start(ids[i], 1, 0);
		timer_await_pending(signals[i]);
	}
	pass();
}
