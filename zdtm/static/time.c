/*
 * title: the clocks of time since boot neither go back nor leap
 * flavours: host ns userns
 */
#include "timers.h"

int main(int argc, char **argv)
{
	const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE,
				    CLOCK_BOOTTIME};
	enum { CLOCKS = sizeof(clocks) / sizeof(*clocks) };
	long long before[CLOCKS];

	test_init(argc, argv);
	for (int i = 0; i < CLOCKS; i++)
		before[i] = clock_ns(clocks[i]);
	test_daemon();
	test_waitsig();
	for (int i = 0; i < CLOCKS; i++) {
		long long later = clock_ns(clocks[i]) - before[i];
		struct timespec kernels; /* the vdso and the kernel have to agree */

		CHECK(later >= 0 && later < 3600 * S, "clock %d moved by %lld ns", clocks[i], later);
		SYS(syscall(SYS_clock_gettime, clocks[i], &kernels));
		later = timer_ns(kernels) - before[i];
		CHECK(later >= 0 && later < 3600 * S, "clock %d of the kernel moved by %lld ns", clocks[i],
		      later);
	}
	pass();
}
