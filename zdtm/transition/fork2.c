/*
 * title: children that live for ten milliseconds while a tree is dumped all end as they should
 * flavours: host ns userns
 * ignore: children
 */
#include "forking.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	test_daemon();
	forking_run(10000000);
}
