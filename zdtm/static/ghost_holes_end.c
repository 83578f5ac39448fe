/*
 * title: a deleted file that is one hole, with its end inside of a block
 * flavours: host ns userns
 */
#include "holes.h"

int main(int argc, char **argv)
{
	static const struct piece pieces[] = {{0, 0}};

	test_init(argc, argv);
	holes_test(pieces, 0, 5 * BLOCK + 77);
}
