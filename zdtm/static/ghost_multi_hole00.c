/*
 * title: a deleted file of blocks and holes in turn, searched for by lseek
 * flavours: host ns userns
 * dump: --ghost-limit 8M --no-ghost-fiemap
 */
#include "holes.h"

enum { SIZE = 8 << 20, COUNT = SIZE / BLOCK / 2 };

int main(int argc, char **argv)
{
	static struct piece pieces[COUNT];

	for (int i = 0; i < COUNT; i++)
		pieces[i] = (struct piece){(off_t)i * 2 * BLOCK, BLOCK};
	test_init(argc, argv);
	holes_test(pieces, COUNT, SIZE);
}
