/*
 * title: a task that spins in user space goes on spinning
 * flavours: host ns userns
 */
#include "zdtm.h"

int main(int argc, char **argv)
{
	register uint64_t in_register = 0;
	volatile uint64_t in_memory = 0;

	test_init(argc, argv);
	test_daemon();
	/* Caught anywhere, the two never part: a turn is neither lost nor made twice. */
	while (test_go()) {
		in_register++;
		in_memory++;
	}
	CHECK(in_register == in_memory, "%llu turns, and %llu", (unsigned long long)in_register,
	      (unsigned long long)in_memory);
	pass();
}
