/*
 * title: nice values and policies for ordinary work are each thread's own, and what children get of them
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"
#include "sched.h"

static const struct attr settings[] = {
	{.policy = OTHER},
	{.policy = OTHER},
	{.policy = OTHER, .nice = 5},
	{.policy = OTHER, .nice = 19, .flags = RESET_ON_FORK},
	{.policy = BATCH, .nice = 1},
	{.policy = BATCH, .nice = 7, .flags = RESET_ON_FORK},
	{.policy = IDLE, .nice = 3},
	{.policy = IDLE, .flags = RESET_ON_FORK},
};

static void body(int number)
{
	const struct attr *wanted = &settings[number];
	struct attr before;
	pid_t child;

	SYS(setpriority(PRIO_PROCESS, 0, wanted->nice));
	SYS(attr_set(*wanted));
	before = attr_get();
	CHECK(before.policy == wanted->policy && before.nice == wanted->nice, "%d was not set", number);
	each_wait();
	attr_same(number, attr_get(), before);
	child = SYS(fork());
	if (!child) {
		before.flags = 0;
		attr_same(number + 100, attr_get(), before);
		_exit(0);
	}
	test_reap(child);
}

int main(int argc, char **argv)
{
	struct attr before, leader = {.policy = BATCH, .nice = 2};

	test_init(argc, argv);
	each_start(sizeof(settings) / sizeof(*settings), body);
	SYS(attr_set(leader));
	before = attr_get();
	test_daemon();
	test_waitsig();
	attr_same(-1, attr_get(), before);
	each_end();
	pass();
}
