/*
 * title: what parent and child read or wrote around a fork is theirs, what neither wrote is shared
 * flavours: host ns
 * flags: suid
 */
#include "cow.h"

enum { NOTHING, READS, WRITES, DEEDS };
enum { BEFORE, PARENT, CHILD, MOMENTS };
enum { AREA = DEEDS * DEEDS * DEEDS };
enum { ANONYMOUS, GUARDED, REMAPPED, OF_FILE, AREAS };

/* What is done with a page at a moment: the pages of an area go through all that is possible. */
static int deed(int page, int moment)
{
	static const int digit[] = {1, DEEDS, DEEDS * DEEDS};

	return page % AREA / digit[moment] % DEEDS;
}

static void does(struct tree_task *self, int moment)
{
	int who = tree_number(self);

	for (int page = 0; page < cow_count; page++) {
		if (deed(page, moment) == READS)
			(void)*(volatile unsigned char *)cow_pages[page];
		if (deed(page, moment) != WRITES)
			continue;
		cow->seed[who][page] = 1000 * (uint32_t)(moment + 1) + (uint32_t)page;
		test_fill(cow_pages[page], PAGE, cow->seed[who][page]);
	}
}

static void writes_all(struct tree_task *self, int argument)
{
	uint32_t *seed = cow->seed[tree_number(self)];

	for (int page = 0; page < cow_count; page++) {
		seed[page] = (uint32_t)(argument + tree_number(self) * COW_PAGES + page);
		test_fill(cow_pages[page], PAGE, seed[page]);
	}
}

int main(int argc, char **argv)
{
	unsigned char *area[AREAS], *room;
	int fd;

	test_init(argc, argv);
	tree_start();
	cow_start();
	area[ANONYMOUS] = map_anonymous(AREA * PAGE, MAP_PRIVATE);
	room = map_nothing((AREA + 2) * PAGE);
	area[GUARDED] = room + PAGE;
	SYS(mprotect(area[GUARDED], AREA * PAGE, RW));
	room = map_nothing(2 * AREA * PAGE);
	area[REMAPPED] = SYS(mremap(map_anonymous(AREA * PAGE, MAP_PRIVATE), AREA * PAGE, AREA * PAGE,
				    MREMAP_MAYMOVE | MREMAP_FIXED, room + AREA / 2 * PAGE));
	fd = file_make("file", AREA, 1);
	area[OF_FILE] = SYS(mmap(NULL, AREA * PAGE, RW, MAP_PRIVATE, fd, 0));
	SYS(close(fd));
	for (int i = 0; i < AREAS; i++)
		for (int page = 0; page < AREA; page++)
			cow_page(area[i] + page * PAGE, i == OF_FILE ? 1 + (uint32_t)page : COW_ZERO);
	does(&tree[0], BEFORE);
	cow_fork(0, 1);
	tree_step(0, does, PARENT);
	tree_step(1, does, CHILD);
	cow_run(writes_all, 10000);
}
