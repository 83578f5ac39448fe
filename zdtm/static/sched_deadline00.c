/*
 * title: SCHED_DEADLINE keeps its parameters and flags
 * flavours: host ns
 * flags: suid
 * cflags: -pthread
 */
#include "each.h"
#include "sched.h"

static const struct attr settings[] = {
	{.policy = DEADLINE, .runtime = 1000000, .deadline = 30000000, .period = 100000000},
	{.policy = DEADLINE, .runtime = 2000000, .deadline = 40000000, .period = 40000000, .flags = RECLAIM},
	{.policy = OTHER},
	{.policy = DEADLINE,
	 .runtime = 3000000,
	 .deadline = 50000001,
	 .period = 60000003,
	 .flags = RESET_ON_FORK | DL_OVERRUN},
};

static void body(int number)
{
	struct attr before;

	SYS(attr_set(settings[number]));
	before = attr_get();
	CHECK(before.policy == settings[number].policy && before.flags == settings[number].flags,
	      "%d was not set", number);
	each_wait();
	attr_same(number, attr_get(), before);
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
