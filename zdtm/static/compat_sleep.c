/*
 * title: waits of a 32-bit program, by calls of both sizes of time, go on for what was left of them
 * flavours: host ns userns
 * arch: x86_64
 * cflags: -m32
 * needs: compat_cr
 */
#include "timed.h"

#include "compat.h"

#include <linux/futex.h>
#include <poll.h>
#include <time.h>

struct time32 {
	int32_t sec, nsec;
};

struct time64 {
	int64_t sec, nsec;
};

static const struct time32 small = {TIMED_MS / 1000, TIMED_MS % 1000 * 1000000};
static const struct time64 large = {TIMED_MS / 1000, TIMED_MS % 1000 * 1000000};
static uint32_t word;

/* The calls themselves: which of them the C library makes depends on its version. */
static long wait_by(int which)
{
	switch (which) {
	case 0: return syscall(SYS_nanosleep, &small, NULL);
	case 1: return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &small, NULL);
	case 2: return syscall(SYS_clock_nanosleep_time64, CLOCK_MONOTONIC, 0, &large, NULL);
	case 3: return syscall(SYS_poll, NULL, 0, TIMED_MS);
	case 4: return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &small);
	case 5: return syscall(SYS_futex_time64, &word, FUTEX_WAIT_PRIVATE, 0, &large);
	}
	return -1;
}

enum { CALLS = 6 };

int main(int argc, char **argv)
{
	uint32_t *go;
	pid_t kids[CALLS];
	long started, ms, result;

	test_init(argc, argv);
	go = test_shared(sizeof(*go));
	for (int i = 0; i < CALLS; i++) {
		kids[i] = SYS(fork());
		if (kids[i])
			continue;
		started = test_now_ms();
		result = wait_by(i);
		ms = test_now_ms() - started;
		CHECK(i < 4 ? !result : result == -1 && errno == ETIMEDOUT, "call %d returned %ld: %m", i,
		      result);
		CHECK(ms >= TIMED_MS - TIMED_EARLY_MS, "call %d took %ld ms", i, ms);
		CHECK(ms <= TIMED_MS + TIMED_SLACK_MS, "call %d took %ld ms", i, ms);
		test_await(go, 1);
		_exit(0);
	}
	test_daemon();
	test_waitsig();
	test_post(go);
	for (int i = 0; i < CALLS; i++)
		test_reap(kids[i]);
	pass();
}
