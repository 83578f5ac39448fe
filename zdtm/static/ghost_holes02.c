/*
 * title: a deleted file with a hole at its beginning and one in its middle keeps both
 * flavours: host ns userns
 */
#include "holes.h"

int main(int argc, char **argv)
{
	static const struct piece pieces[] = {{BLOCK, BLOCK}, {3 * BLOCK, BLOCK}};

	test_init(argc, argv);
	holes_test(pieces, 2, 4 * BLOCK);
}
