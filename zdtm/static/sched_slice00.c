/*
 * title: a time slice of one's own stays, under SCHED_IDLE too
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"
#include "sched.h"

static const struct attr settings[] = {
	{.policy = OTHER, .runtime = 7000000},
	{.policy = OTHER, .runtime = 200000},
	{.policy = BATCH, .nice = 3, .runtime = 50000000},
	{.policy = OTHER},
};

static void body(int number)
{
	struct attr before;

	SYS(attr_set(settings[number]));
	if (number == 0)
		SYS(attr_set((struct attr){.policy = IDLE}));
	before = attr_get();
	each_wait();
	attr_same(number, attr_get(), before);
}

int main(int argc, char **argv)
{
	uint64_t usual = attr_get().runtime;

	test_init(argc, argv);
	SYS(attr_set(settings[0]));
	if (attr_get().runtime != settings[0].runtime)
		skip("this kernel has no slices of one's own");
	SYS(attr_set((struct attr){.policy = OTHER}));
	CHECK(attr_get().runtime == usual, "the usual slice does not come back");
	each_start(sizeof(settings) / sizeof(*settings), body);
	test_daemon();
	test_waitsig();
	each_end();
	CHECK(attr_get().runtime == usual, "the usual slice is %lu instead of %lu", attr_get().runtime,
	      usual);
	pass();
}
