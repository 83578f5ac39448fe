/*
 * title: sealed memfds that are mapped for reading are so again, and never for writing
 * flavours: host ns userns
 */
#include "memfd_seals.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	memfd_seals_run(true);
}
