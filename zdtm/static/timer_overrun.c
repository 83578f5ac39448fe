/*
 * title: a periodic timer whose blocked signal is pending has one signal, and counts its overruns on
 * flavours: host ns userns
 */
#include "timers.h"

enum { TIMERS = 3, TICK_MS = 40, WAIT_MS = 250, LATE_MS = 10000 };

int main(int argc, char **argv)
{
	const clockid_t clocks[TIMERS] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
	const int notify[TIMERS] = {SIGEV_SIGNAL, SIGEV_THREAD_ID, SIGEV_SIGNAL};
	long long asked[TIMERS], set[TIMERS], taken, left;
	struct timespec wait = timer_spec(WAIT_MS * MS);
	char values[TIMERS];
	int ids[TIMERS];
	siginfo_t info;

	test_init(argc, argv);
	for (int i = 0; i < TIMERS; i++) {
		timer_block(SIGRTMIN + i);
		ids[i] = timer_make(clocks[i], notify[i], SIGRTMIN + i, values + i);
		set[i] = clock_ns(CLOCK_MONOTONIC);
		timer_start(ids[i], 1, TICK_MS * MS);
		timer_await_pending(SIGRTMIN + i);
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < TIMERS; i++)
		asked[i] = clock_ns(CLOCK_MONOTONIC);
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &wait) == EINTR)
		;
	for (int i = 0; i < TIMERS; i++) {
		taken = clock_ns(CLOCK_MONOTONIC);
		left = timer_left(ids[i]);
		CHECK(timer_interval(ids[i]) == TICK_MS * MS, "timer %d: interval %lld ns", i,
		      timer_interval(ids[i]));
		CHECK(left > 0 && left <= TICK_MS * MS, "timer %d: %lld ns are left", i, left);
		CHECK(timer_dequeue(SIGRTMIN + i, 0, &info), "timer %d: no signal", i);
		timer_check_info(&info, ids[i], values + i);
		/* Whole intervals since it was last looked at, none before it was set. */
		CHECK(info.si_overrun >= (taken - asked[i]) / (TICK_MS * MS) - 1, "timer %d: overrun %d", i,
		      info.si_overrun);
		CHECK(info.si_overrun <= (clock_ns(CLOCK_MONOTONIC) - set[i]) / (TICK_MS * MS),
		      "timer %d: overrun %d is too much", i, info.si_overrun);
		CHECK(SYS(syscall(SYS_timer_getoverrun, ids[i])) == info.si_overrun, "timer %d: two overruns",
		      i);
		if (timer_dequeue(SIGRTMIN + i, 0, &info)) /* unless it has just come */
			CHECK(clock_ns(CLOCK_MONOTONIC) - taken >= left, "timer %d: two signals", i);
		CHECK(timer_dequeue(SIGRTMIN + i, LATE_MS * MS, &info), "timer %d: it has ended", i);
		timer_check_info(&info, ids[i], values + i);
	}
	pass();
}
