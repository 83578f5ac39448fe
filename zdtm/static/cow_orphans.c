/*
 * title: relatives share pages still when the task that was between them has ended
 * flavours: host ns
 * flags: suid
 */
#include "cow.h"

enum { PAGES = 32 };

static void writes(struct tree_task *self, int first)
{
	uint32_t *seed = cow->seed[tree_number(self)];

	for (int page = first; page < PAGES; page += 4) {
		seed[page] = (uint32_t)(1000 * (tree_number(self) + 1) + page);
		test_fill(cow_pages[page], PAGE, seed[page]);
	}
}

int main(int argc, char **argv)
{
	unsigned char *memory;

	test_init(argc, argv);
	tree_start();
	cow_start();
	tree_subreaper(0, true);
	memory = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	for (int page = 0; page < PAGES; page++)
		cow_page(memory + page * PAGE, 1 + (uint32_t)page);
	pages_fill(memory, PAGES, 1);
	/* Of 1, which ends, 2 and 3 have changes that 0 has not; 3 is of a session of its own. */
	cow_fork(0, 1);
	tree_step(1, writes, 0);
	cow_fork(1, 2);
	tree_setsid(1);
	cow_fork(1, 3);
	tree_step(2, writes, 1);
	tree_step(0, writes, 2);
	tree_leave(0, 1);
	cow_run(writes, 3);
}
