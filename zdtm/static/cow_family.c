/*
 * title: children and grandchildren share what neither has changed since, with whom they shared it
 * flavours: host ns
 * flags: suid
 */
#include "cow.h"

enum { WRITES = 7, PAGES = 1 << WRITES };

/* Each page is left out of every combination of writes: bit `event` of its number says if it is written. */
static void writes(struct tree_task *self, int event)
{
	uint32_t *seed = cow->seed[tree_number(self)];

	for (int page = 0; page < PAGES; page++)
		if (page >> event & 1) {
			seed[page] = (uint32_t)(1000 * (event + 1) + page);
			test_fill(cow_pages[page], PAGE, seed[page]);
		}
}

static void drops(struct tree_task *self, int event)
{
	for (int page = 0; page < PAGES; page++)
		if (page >> event & 1) {
			SYS(madvise(cow_pages[page], PAGE, MADV_DONTNEED));
			cow->seed[tree_number(self)][page] = COW_ZERO;
		}
}

static void writes_all(struct tree_task *self, int argument)
{
	uint32_t *seed = cow->seed[tree_number(self)];

	for (int page = 0; page < PAGES; page++) {
		seed[page] = (uint32_t)(argument + tree_number(self) * PAGES + page);
		test_fill(cow_pages[page], PAGE, seed[page]);
	}
}

int main(int argc, char **argv)
{
	unsigned char *memory;

	test_init(argc, argv);
	tree_start();
	cow_start();
	memory = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	for (int page = 0; page < PAGES; page++)
		cow_page(memory + page * PAGE, 1 + (uint32_t)page);
	pages_fill(memory, PAGES, 1);
	cow_fork(0, 1);
	tree_step(0, writes, 0);
	cow_fork(0, 2);
	cow_fork(0, 3);
	tree_step(0, writes, 1); /* 2 and 3 have in common what 0 has no more */
	tree_step(1, writes, 2);
	cow_fork(1, 4);
	tree_step(1, writes, 3);
	tree_step(2, writes, 4);
	cow_fork(2, 5);
	tree_step(5, writes, 5);
	tree_step(3, drops, 6);
	cow_run(writes_all, 10000);
}
