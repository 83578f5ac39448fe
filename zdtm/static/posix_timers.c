/*
 * title: one-shot POSIX timers on three clocks expire when what was left is over, with their payload
 * flavours: host ns userns
 */
#include "timers.h"

enum { CLOCKS = 3, SHORT_MS = 1500, EARLY_MS = 5, LATE_MS = 10000 };

static const clockid_t clocks[CLOCKS] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
static const long long long_ns = 1000 * S;

int main(int argc, char **argv)
{
	int brief[CLOCKS], lasting[CLOCKS], gap, i;
	char payload[CLOCKS];
	siginfo_t info;
	long started, ms;

	test_init(argc, argv);
	for (i = 0; i < CLOCKS; i++)
		timer_block(SIGRTMIN + i);
	started = test_now_ms();
	for (i = 0; i < CLOCKS; i++) {
		gap = timer_make(clocks[i], SIGEV_SIGNAL, SIGUSR1, NULL);
		brief[i] = timer_make(clocks[i], SIGEV_SIGNAL, SIGRTMIN + i, payload + i);
		lasting[i] = timer_make(clocks[i], SIGEV_SIGNAL, SIGUSR1, payload + i);
		SYS(syscall(SYS_timer_delete, gap));
		timer_start(brief[i], SHORT_MS * MS, 0);
		timer_start(lasting[i], long_ns, 0);
	}
	test_daemon();
	test_waitsig();
	for (i = 0; i < CLOCKS; i++) {
		long long left = timer_left(lasting[i]), elapsed = (test_now_ms() - started) * MS;

		CHECK(left <= long_ns && left >= long_ns - elapsed - S, "clock %d: %lld ns are left",
		      clocks[i], left);
		CHECK(!timer_interval(lasting[i]), "clock %d: an interval out of nothing", clocks[i]);
		CHECK(timer_dequeue(SIGRTMIN + i, LATE_MS * MS, &info), "clock %d: no signal", clocks[i]);
		ms = test_now_ms() - started;
		CHECK(ms >= SHORT_MS - EARLY_MS && ms < SHORT_MS + LATE_MS, "clock %d: after %ld ms",
		      clocks[i], ms);
		timer_check_info(&info, brief[i], payload + i);
		CHECK(!info.si_overrun, "clock %d: overrun %d", clocks[i], info.si_overrun);
		CHECK(!timer_dequeue(SIGRTMIN + i, 0, &info), "clock %d: two signals", clocks[i]);
		CHECK(!timer_left(brief[i]), "clock %d: it runs again", clocks[i]);
		CHECK(syscall(SYS_timer_delete, brief[i] - 1) == -1 && errno == EINVAL,
		      "clock %d: the deleted timer is there", clocks[i]);
	}
	pass();
}
