/*
 * title: realtime policies with their priorities, and the nice values below them, are each thread's own
 * flavours: host ns
 * flags: suid
 * cflags: -pthread
 */
#include "each.h"
#include "sched.h"

static const struct attr settings[] = {
	{.policy = FIFO, .priority = 1, .nice = 4},
	{.policy = FIFO, .priority = 1, .nice = -6},
	{.policy = FIFO, .priority = 42, .flags = RESET_ON_FORK},
	{.policy = RR, .priority = 41, .nice = 9, .flags = RESET_ON_FORK},
	{.policy = RR, .priority = 99},
	{.policy = OTHER, .nice = -20},
	{.policy = OTHER},
	{.policy = BATCH, .nice = -3},
};

static void body(int number)
{
	const struct attr *wanted = &settings[number];
	struct sched_param none = {.sched_priority = 0};
	struct attr before;

	SYS(setpriority(PRIO_PROCESS, 0, wanted->nice));
	SYS(attr_set(*wanted));
	before = attr_get();
	CHECK(before.policy == wanted->policy && before.priority == wanted->priority &&
		      before.nice == wanted->nice && before.flags == wanted->flags,
	      "%d was not set", number);
	each_wait();
	attr_same(number, attr_get(), before);
	if (wanted->priority) {
		/* Without the policy it is as nice as it was told to be before. */
		SYS(syscall(SYS_sched_setscheduler, 0, OTHER, &none));
		CHECK(attr_get().policy == OTHER && attr_get().nice == wanted->nice,
		      "%d: nice %d instead of %d under SCHED_OTHER", number, attr_get().nice, wanted->nice);
	}
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	each_start(sizeof(settings) / sizeof(*settings), body);
	test_daemon();
	test_waitsig();
	each_end();
	pass();
}
