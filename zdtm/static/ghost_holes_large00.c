/*
 * title: a deleted file with a hole of 1 GiB keeps it, and is no larger for it
 * flavours: host ns userns
 */
#include "holes.h"

int main(int argc, char **argv)
{
	static const struct piece pieces[] = {{0, 3 * BLOCK}, {(off_t)1 << 30, BLOCK}};

	test_init(argc, argv);
	holes_test(pieces, 2, ((off_t)1 << 30) + BLOCK);
}
