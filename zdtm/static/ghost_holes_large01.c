/*
 * title: a deleted file with holes and more data than is allowed is refused
 * flavours: host ns userns
 * flags: crfail
 */
#include "holes.h"

int main(int argc, char **argv)
{
	static const struct piece pieces[] = {{BLOCK, 1 << 20}, {4 << 20, 1 << 20}};

	test_init(argc, argv);
	holes_test(pieces, 2, (5 << 20) + BLOCK);
}
