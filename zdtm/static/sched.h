/* What the kernel says of a thread's scheduling: sched_getattr(2), getpriority(2). */
#ifndef SCHED_ATTR_H
#define SCHED_ATTR_H

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

enum { RESET_ON_FORK = 1, RECLAIM = 2, DL_OVERRUN = 4 };
enum { OTHER = 0, FIFO = 1, RR = 2, BATCH = 3, IDLE = 5, DEADLINE = 6 };

/* struct sched_attr of linux/sched/types.h, which the C library may declare or not. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static inline int attr_set(struct attr attr)
{
	attr.size = sizeof(attr);
	return (int)syscall(SYS_sched_setattr, 0, &attr, 0);
}

/* `nice` is what the thread has below its policy, too. */
static inline struct attr attr_get(void)
{
	struct attr attr = {.size = sizeof(attr)};

	SYS(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0));
	errno = 0;
	attr.nice = getpriority(PRIO_PROCESS, 0);
	CHECK(!errno, "getpriority: %m");
	return attr;
}

static inline void attr_same(int number, struct attr now, struct attr was)
{
	CHECK(now.policy == was.policy, "%d: policy %u instead of %u", number, now.policy, was.policy);
	CHECK(now.flags == was.flags, "%d: flags %#lx instead of %#lx", number, now.flags, was.flags);
	CHECK(now.nice == was.nice, "%d: nice %d instead of %d", number, now.nice, was.nice);
	CHECK(now.priority == was.priority, "%d: priority %u instead of %u", number, now.priority,
	      was.priority);
	CHECK(now.runtime == was.runtime, "%d: runtime %lu instead of %lu", number, now.runtime, was.runtime);
	CHECK(now.deadline == was.deadline && now.period == was.period,
	      "%d: deadline and period %lu %lu instead of %lu %lu", number, now.deadline, now.period,
	      was.deadline, was.period);
}

#endif
