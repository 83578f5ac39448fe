/*
 * title: POSIX timers stay on their clocks, CPU clocks by name and by number among them
 * flavours: host ns userns
 */
#include "timers.h"

#include <pthread.h>

/* As clock_getcpuclockid(3) numbers them: of one's own process or thread; 0: in all modes, 1: in user mode.
 */
#define CPU_CLOCK(thread, which) (-8 | (thread) << 2 | (which))

enum { MAX = 16, BURN_MS = 300 };

static const long long left_ns = 4000 * S, interval_ns = 3000 * S;
static clockid_t clocks[MAX];
static int ids[MAX], count;

static void add(clockid_t clock)
{
	int id = timer_try(clock, SIGEV_SIGNAL, SIGUSR1, &clocks[count]);

	if (id < 0 && (errno == EPERM || errno == ENOTSUP || errno == EINVAL)) {
		test_msg("no timers on clock %d: %s\n", clock, strerror(errno));
		return;
	}
	clocks[count] = clock;
	ids[count] = SYS(id);
	timer_start(id, left_ns, interval_ns);
	count++;
}

static bool is_cpu(clockid_t clock)
{
	return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

int main(int argc, char **argv)
{
	const clockid_t plain[] = {
		CLOCK_REALTIME,	      CLOCK_MONOTONIC,	    CLOCK_BOOTTIME,	      CLOCK_TAI,
		CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
		CPU_CLOCK(0, 0),      CPU_CLOCK(0, 1),	    CPU_CLOCK(1, 0),	      CPU_CLOCK(1, 1)};
	long long before[MAX], now, passed;
	char *listed;
	clockid_t own;

	test_init(argc, argv);
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		add(plain[i]);
	CHECK(!clock_getcpuclockid(getpid(), &own), "no clock of the process");
	add(own);
	CHECK(!pthread_getcpuclockid(pthread_self(), &own), "no clock of the thread");
	add(own);
	burn(BURN_MS * MS);
	for (int i = 0; i < count; i++)
		before[i] = timer_left(ids[i]);
	listed = test_read_file("/proc/self/timers", NULL);
	test_daemon();
	test_waitsig();
	CHECK(!strcmp(test_read_file("/proc/self/timers", NULL), listed), "there were %s, there are %s",
	      listed, test_read_file("/proc/self/timers", NULL));
	for (int i = 0; i < count; i++) {
		now = timer_left(ids[i]);
		passed = before[i] - now;
		CHECK(timer_interval(ids[i]) == interval_ns, "clock %d: interval %lld ns", clocks[i],
		      timer_interval(ids[i]));
		/* A clock by ticks may gain one. */
		CHECK(passed >= -20 * MS && passed < 300 * S, "clock %d: %lld ns are left of %lld", clocks[i],
		      now, before[i]);
		CHECK(!is_cpu(clocks[i]) || passed < 200 * MS, "clock %d: %lld ns passed without work",
		      clocks[i], passed);
		before[i] = now;
	}
	burn(BURN_MS * MS);
	for (int i = 0; i < count; i++) {
		passed = before[i] - timer_left(ids[i]);
		CHECK(passed >= BURN_MS * MS / 2 && passed < 300 * S, "clock %d: %lld ns passed", clocks[i],
		      passed);
	}
	pass();
}
