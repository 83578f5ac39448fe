/*
 * title: a segment of 5000 bytes is one of 5000 bytes again
 * flavours: ns userns
 */
#include "shm.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	shm_run(5000, 0);
}
