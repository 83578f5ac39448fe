/*
 * title: a task that spins in user space goes on spinning
 * flavours: host ns userns
 */
#include "zdtm.h"

int main(int argc, char **argv)
{
	volatile uint64_t turns = 0;

	test_init(argc, argv);
	test_daemon();
	while (test_go())
		turns++;
	CHECK(turns > 0, "no turn was made");
	pass();
}
