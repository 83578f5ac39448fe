/*
 * title: an rseq area of one's own, with a signature of one's own, stays registered and is kept up to date
 * flavours: host ns userns
 * arch: x86_64
 * needs: get_rseq_conf
 */
#include "zdtm.h"

#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIGNATURE 0x5a445401u

static struct rseq area = {.cpu_id = RSEQ_CPU_ID_UNINITIALIZED};
static struct rseq other = {.cpu_id = RSEQ_CPU_ID_UNINITIALIZED};

static int rseq(struct rseq *at, uint32_t size, int flags, uint32_t signature)
{
	return syscall(SYS_rseq, at, size, flags, signature) < 0 ? errno : 0;
}

/* The C library has an area of its own; of what size it registered that, it does not tell. */
static void unregister_the_librarys(void)
{
	struct rseq *its = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);

	for (uint32_t size = 32; size <= 512; size += 4)
		if (!rseq(its, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
			return;
	CHECK(!__rseq_size, "the C library's area cannot be unregistered");
}

static void check_registered(void)
{
	int error;

	error = rseq(&area, sizeof(area), 0, SIGNATURE);
	CHECK(error == EBUSY, "registered again: %s instead of EBUSY", strerror(error));
	error = rseq(&area, sizeof(area), 0, RSEQ_SIG);
	CHECK(error == EPERM, "with another signature: %s instead of EPERM", strerror(error));
	error = rseq(&other, sizeof(other), 0, SIGNATURE);
	CHECK(error == EINVAL, "at another address: %s instead of EINVAL", strerror(error));
	CHECK(other.cpu_id == (uint32_t)RSEQ_CPU_ID_UNINITIALIZED, "the other area is in use");
}

/* On every processor that we may use the kernel says that it is this one. */
static void check_kept(void)
{
	cpu_set_t all, one;

	SYS(sched_getaffinity(0, sizeof(all), &all));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		SYS(sched_setaffinity(0, sizeof(one), &one));
		sched_yield();
		CHECK(*(volatile uint32_t *)&area.cpu_id == (uint32_t)cpu, "on processor %d it says %u", cpu,
		      area.cpu_id);
	}
	SYS(sched_setaffinity(0, sizeof(all), &all));
}

int main(int argc, char **argv)
{
	int error;

	test_init(argc, argv);
	unregister_the_librarys();
	error = rseq(&area, sizeof(area), 0, SIGNATURE);
	CHECK(!error, "rseq: %s", strerror(error));
	check_registered();
	check_kept();
	test_daemon();
	test_waitsig();
	check_registered();
	check_kept();
	error = rseq(&area, sizeof(area), RSEQ_FLAG_UNREGISTER, SIGNATURE);
	CHECK(!error, "cannot be unregistered: %s", strerror(error));
	pass();
}
