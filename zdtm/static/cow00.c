/*
 * title: a page that parent and child have in common since the fork is one page still
 * flavours: host ns
 * flags: suid
 */
#include "cow.h"

static void writes(struct tree_task *self, int page)
{
	uint32_t seed = 100 + (uint32_t)tree_number(self);

	test_fill(cow_pages[page], PAGE, seed);
	cow->seed[tree_number(self)][page] = seed;
}

int main(int argc, char **argv)
{
	int page;

	test_init(argc, argv);
	tree_start();
	cow_start();
	page = cow_page(map_anonymous(PAGE, MAP_PRIVATE), COW_ZERO);
	writes(&tree[0], page);
	cow_fork(0, 1);
	cow_run(writes, page);
}
