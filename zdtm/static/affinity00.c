/*
 * title: the CPUs that it may run on are each thread's own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"

#include <sched.h>

static int cpus[CPU_SETSIZE];
static int count;

static void body(int number)
{
	cpu_set_t wanted, now;
	int cpu;

	CPU_ZERO(&wanted);
	if (number < 4) {
		/* A child and a thread on the first CPU, two on the last. */
		CPU_SET(cpus[number < 2 ? 0 : count - 1], &wanted);
		SYS(sched_setaffinity(0, sizeof(wanted), &wanted));
	} else {
		SYS(sched_getaffinity(0, sizeof(wanted), &wanted));
		CHECK(CPU_COUNT(&wanted) == count, "a new one has %d CPUs", CPU_COUNT(&wanted));
	}
	each_wait();
	SYS(sched_getaffinity(0, sizeof(now), &now));
	cpu = SYS(sched_getcpu());
	CHECK(CPU_EQUAL(&now, &wanted), "%d: %d CPUs, the first is %sits own", number, CPU_COUNT(&now),
	      CPU_ISSET(cpus[0], &now) == CPU_ISSET(cpus[0], &wanted) ? "" : "not ");
	CHECK(CPU_ISSET(cpu, &wanted), "%d: runs on CPU %d", number, cpu);
}

int main(int argc, char **argv)
{
	cpu_set_t all, now;

	test_init(argc, argv);
	SYS(sched_getaffinity(0, sizeof(all), &all));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all))
			cpus[count++] = cpu;
	if (count < 2)
		skip("there is only one CPU");
	each_start(6, body);
	test_daemon();
	test_waitsig();
	SYS(sched_getaffinity(0, sizeof(now), &now));
	CHECK(CPU_EQUAL(&now, &all), "the test itself has %d CPUs instead of %d", CPU_COUNT(&now), count);
	each_end();
	pass();
}
