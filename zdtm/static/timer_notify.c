/*
 * title: POSIX timers tell their process or thread by the signal and value they were made with, or nobody
 * flavours: host ns userns
 */
#include "timers.h"

enum { KINDS = 5, LATE_MS = 10000 };

int main(int argc, char **argv)
{
	/* The kernel itself knows SIGEV_THREAD as another word for SIGEV_SIGNAL; 0: without a sigevent. */
	const int notify[KINDS] = {SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_NONE, SIGEV_THREAD_ID, -1};
	const int signals[KINDS] = {SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2, SIGRTMIN + 3, SIGALRM};
	const long long ns[KINDS] = {0, 3600 * S, 3600 * S, 0, 3600 * S};
	char values[KINDS], *listed, *now;
	sigset_t pending;
	siginfo_t info;
	int ids[KINDS];

	test_init(argc, argv);
	for (int i = 0; i < KINDS; i++) {
		timer_block(signals[i]);
		if (notify[i] < 0)
			SYS(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, ids + i));
		else
			ids[i] = timer_make(CLOCK_MONOTONIC, notify[i], signals[i], values + i);
		timer_start(ids[i], 3600 * S, ns[i]);
	}
	listed = test_read_file("/proc/self/timers", NULL);
	test_daemon();
	test_waitsig();
	now = test_read_file("/proc/self/timers", NULL);
	CHECK(!strcmp(now, listed), "there were %s, there are %s", listed, now);
	for (int i = 0; i < KINDS; i++) {
		CHECK(timer_interval(ids[i]) == ns[i], "timer %d: interval %lld", i, timer_interval(ids[i]));
		CHECK(!timer_dequeue(signals[i], 0, &info), "timer %d: a signal out of nothing", i);
		timer_start(ids[i], 1, 0);
		if (notify[i] == SIGEV_NONE) {
			while (timer_left(ids[i]))
				;
			SYS(sigpending(&pending));
			CHECK(!sigismember(&pending, signals[i]), "timer %d: a signal", i);
			continue;
		}
		CHECK(timer_dequeue(signals[i], LATE_MS * MS, &info), "timer %d: no signal", i);
		if (notify[i] < 0)
			timer_check_info(&info, ids[i], (void *)(intptr_t)ids[i]);
		else
			timer_check_info(&info, ids[i], values + i);
	}
	pass();
}
