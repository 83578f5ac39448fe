/*
 * title: a segment of System V shared memory is there by its id, its key and its attachment
 * flavours: ns userns
 */
#include "shm.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	shm_run(1 << 20, 0);
}
