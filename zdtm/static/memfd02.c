/*
 * title: a memfd that is mapped shared, privately, for reading, or closed since, is one object
 * flavours: host ns userns
 */
#include "memfd_mapped.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	memfd_run(0, 4096);
}
