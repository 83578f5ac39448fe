/*
 * title: memfds keep their seals, and what these forbid is forbidden
 * flavours: host ns userns
 */
#include "memfd_seals.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	memfd_seals_run(false);
}
