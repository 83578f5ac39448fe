/*
 * title: a deleted file with a hole in its middle and one at its end keeps both
 * flavours: host ns userns
 */
#include "holes.h"

int main(int argc, char **argv)
{
	static const struct piece pieces[] = {{0, BLOCK}, {2 * BLOCK, BLOCK}};

	test_init(argc, argv);
	holes_test(pieces, 2, 4 * BLOCK);
}
