/* The functions of the vdso, by pointers that are looked up once: they have to work for ever. */
#ifndef ZDTM_VDSO_H
#define ZDTM_VDSO_H

#include <dlfcn.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

static struct {
	int (*clock_gettime)(clockid_t clock, struct timespec *now);
	int (*clock_getres)(clockid_t clock, struct timespec *step);
	int (*gettimeofday)(struct timeval *now, void *zone);
	time_t (*time)(time_t *now);
	int (*getcpu)(unsigned int *cpu, unsigned int *node, void *unused);
	ssize_t (*getrandom)(void *buffer, size_t size, unsigned int flags, void *state, size_t state_size);
} vdso;

static void *vdso_find(void *handle, const char *name)
{
	return dlvsym(handle, name, "LINUX_2.6");
}

/* clock_getres and getrandom came late: without them there is nothing to check. */
static inline void vdso_init(void)
{
	void *handle = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);

	CHECK(handle, "no vdso: %s", dlerror());
	vdso.clock_gettime = vdso_find(handle, "__vdso_clock_gettime");
	vdso.clock_getres = vdso_find(handle, "__vdso_clock_getres");
	vdso.gettimeofday = vdso_find(handle, "__vdso_gettimeofday");
	vdso.time = vdso_find(handle, "__vdso_time");
	vdso.getcpu = vdso_find(handle, "__vdso_getcpu");
	vdso.getrandom = vdso_find(handle, "__vdso_getrandom");
	CHECK(vdso.clock_gettime && vdso.gettimeofday && vdso.time && vdso.getcpu, "functions are missing");
}

static inline int64_t vdso_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What the kernel says, asked directly. */
static inline int64_t vdso_kernel(clockid_t clock)
{
	struct timespec now;

	SYS(syscall(SYS_clock_gettime, clock, &now));
	return vdso_ns(now);
}

static inline void vdso_check_clocks(void)
{
	static const clockid_t clocks[] = {
		CLOCK_REALTIME,		CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,	   CLOCK_REALTIME_COARSE,
		CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,	 CLOCK_PROCESS_CPUTIME_ID, CLOCK_TAI,
	};

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		int64_t before = vdso_kernel(clocks[i]), after;
		struct timespec now = {-1, -1}, step = {-1, -1}, kernels;

		CHECK(vdso.clock_gettime(clocks[i], &now) == 0, "clock %d cannot be read", clocks[i]);
		after = vdso_kernel(clocks[i]);
		CHECK(before <= vdso_ns(now) && vdso_ns(now) <= after, "clock %d: %ld, not %ld to %ld",
		      clocks[i], (long)vdso_ns(now), (long)before, (long)after);
		if (!vdso.clock_getres)
			continue;
		CHECK(vdso.clock_getres(clocks[i], &step) == 0, "clock %d has no resolution", clocks[i]);
		SYS(syscall(SYS_clock_getres, clocks[i], &kernels));
		CHECK(vdso_ns(step) == vdso_ns(kernels), "clock %d: resolution %ld, not %ld", clocks[i],
		      (long)vdso_ns(step), (long)vdso_ns(kernels));
	}
}

static inline void vdso_check_time(void)
{
	int64_t before = vdso_kernel(CLOCK_REALTIME), coarse = vdso_kernel(CLOCK_REALTIME_COARSE), now;
	struct timeval tv = {-1, -1};
	time_t stored = -1, seconds;

	CHECK(vdso.gettimeofday(&tv, NULL) == 0, "gettimeofday failed");
	seconds = vdso.time(&stored);
	now = (int64_t)tv.tv_sec * 1000000000 + (int64_t)tv.tv_usec * 1000;
	CHECK(before / 1000 * 1000 <= now && now <= vdso_kernel(CLOCK_REALTIME), "gettimeofday says %ld",
	      (long)now);
	CHECK(seconds == stored, "time returns %ld and stores %ld", (long)seconds, (long)stored);
	CHECK(coarse / 1000000000 <= seconds && seconds <= vdso_kernel(CLOCK_REALTIME) / 1000000000,
	      "time says %ld", (long)seconds);
}

/* On one processor, so that there is one right answer. */
static inline void vdso_check_cpu(void)
{
	unsigned int cpu = -1, node = -1, right_cpu, right_node;
	cpu_set_t was, one;

	SYS(sched_getaffinity(0, sizeof(was), &was));
	SYS(syscall(SYS_getcpu, &right_cpu, &right_node, NULL));
	CPU_ZERO(&one);
	CPU_SET(right_cpu, &one);
	SYS(sched_setaffinity(0, sizeof(one), &one));
	CHECK(vdso.getcpu(&cpu, &node, NULL) == 0, "getcpu failed");
	SYS(syscall(SYS_getcpu, &right_cpu, &right_node, NULL));
	SYS(sched_setaffinity(0, sizeof(was), &was));
	CHECK(cpu == right_cpu && node == right_node, "processor %u, node %u, not %u, %u", cpu, node,
	      right_cpu, right_node);
}

static inline void vdso_check_random(void)
{
	unsigned char one[32] = {0}, other[32] = {0}, none[32] = {0};

	if (!vdso.getrandom)
		return;
	/* Without a state of the right size it makes the system call. */
	CHECK(vdso.getrandom(one, sizeof(one), 0, NULL, 0) == sizeof(one), "getrandom failed");
	CHECK(vdso.getrandom(other, sizeof(other), 0, NULL, 0) == sizeof(other), "getrandom failed");
	CHECK(memcmp(one, none, sizeof(one)) && memcmp(one, other, sizeof(one)), "getrandom is not random");
}

static inline void vdso_check(void)
{
	vdso_check_clocks();
	vdso_check_time();
	vdso_check_cpu();
	vdso_check_random();
}

#endif
