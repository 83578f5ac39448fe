/*
 * title: a task that sleeps until a signal comes is woken by it
 * flavours: host ns userns
 */
#include "zdtm.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	test_daemon();
	test_waitsig();
	CHECK(!test_go(), "woken without a signal");
	pass();
}
