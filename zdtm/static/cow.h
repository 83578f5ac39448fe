/*
 * For tests of pages that relatives share from a fork on until one of them writes.
 *
 * Tasks are those of tree.h. All know the same pages at the same addresses. The test keeps, of every task and
 * page, what has to be in it, and compares which pairs of tasks had a page's frame in common before and have
 * it after. Frames are seen with CAP_SYS_ADMIN alone.
 */
#ifndef COW_H
#define COW_H

#include "memory.h"
#include "tree.h"

enum { COW_TASKS = 8, COW_PAGES = 256 };
enum { COW_ZERO = 0 }; /* no seed: a page of zeros */

static struct cow {
	uint32_t seed[COW_TASKS][COW_PAGES];
	uint64_t frame[COW_TASKS][COW_PAGES]; /* of an anonymous page, else 0 */
} *cow;
static unsigned char *cow_pages[COW_PAGES];
static int cow_count;

/* After tree_start(). */
static inline void cow_start(void)
{
	cow = test_shared(sizeof(*cow));
}

static inline int cow_page(void *memory, uint32_t seed)
{
	CHECK(cow_count < COW_PAGES, "too many pages");
	cow_pages[cow_count] = memory;
	cow->seed[0][cow_count] = seed;
	return cow_count++;
}

static inline void cow_task_looks(struct tree_task *self, int argument)
{
	uint64_t entry, zero;
	unsigned char *untouched = map_anonymous(PAGE, MAP_PRIVATE);

	(void)argument;
	(void)*(volatile unsigned char *)untouched;
	pagemap(untouched, 1, &zero);
	SYS(munmap(untouched, PAGE));
	CHECK(zero & PAGEMAP_FRAME, "the frame of a page is not shown");
	for (int page = 0; page < cow_count; page++) {
		pagemap(cow_pages[page], 1, &entry);
		if (!(entry & PAGEMAP_PRESENT) || entry & PAGEMAP_FILE ||
		    (entry & PAGEMAP_FRAME) == (zero & PAGEMAP_FRAME))
			entry = 0;
		cow->frame[tree_number(self)][page] = entry & PAGEMAP_FRAME;
	}
}

static inline void cow_task_checks(struct tree_task *self, int argument)
{
	int who = tree_number(self);

	(void)argument;
	for (int page = 0; page < cow_count; page++) {
		uint32_t seed = cow->seed[who][page];

		CHECK(seed == COW_ZERO ? page_is_zero(cow_pages[page]) : page_is(cow_pages[page], seed),
		      "page %d of task %d holds something else", page, who);
	}
}

/* Every task looks at its pages. */
static inline void cow_check(void)
{
	for (int who = 0; who < COW_TASKS; who++)
		if (tree[who].alive)
			tree_step(who, cow_task_checks, 0);
}

/* Fork, with what the parent has. */
static inline void cow_fork(int parent, int child)
{
	memcpy(cow->seed[child], cow->seed[parent], sizeof(cow->seed[child]));
	tree_fork(parent, child);
}

/* Tasks' frames until two looks agree: the kernel may move a page in between. */
static inline void cow_look(struct cow *seen)
{
	int looks = 0;

	do {
		*seen = *cow;
		CHECK(looks++ < 20, "the frames change all the time");
		for (int who = 0; who < COW_TASKS; who++)
			if (tree[who].alive)
				tree_step(who, cow_task_looks, 0);
	} while (memcmp(seen, cow, sizeof(*seen)));
}

static inline bool cow_shared(const struct cow *seen, int page, int a, int b)
{
	return seen->frame[a][page] && seen->frame[a][page] == seen->frame[b][page];
}

/* How many pages any two tasks had in common; each pair has as many now, and the same ones. */
static inline int cow_compare(const struct cow *before, const struct cow *after)
{
	int shared = 0;

	for (int a = 0; a < COW_TASKS; a++)
		for (int b = 0; b < a; b++)
			for (int page = 0; page < cow_count; page++) {
				bool was = cow_shared(before, page, a, b);

				if (!tree[a].alive || !tree[b].alive)
					continue;
				shared += was;
				CHECK(cow_shared(after, page, a, b) == was, "page %d of tasks %d and %d %s",
				      page, b, a, was ? "is shared no more" : "is one now");
			}
	return shared;
}

/* From the checkpoint to the verdict: the same is shared, and whoever writes afterwards writes for himself.
 */
static inline _Noreturn void cow_run(void (*write)(struct tree_task *self, int argument), int argument)
{
	static struct cow before, after;

	tree_record();
	cow_check();
	cow_look(&before);
	test_daemon();
	test_waitsig();
	/* first the frames: looking at contents could bring pages in */
	cow_look(&after);
	CHECK(cow_compare(&before, &after), "nothing was shared before");
	cow_check();
	for (int who = 0; who < COW_TASKS; who++)
		if (tree[who].alive) {
			tree_step(who, write, argument);
			cow_check();
		}
	tree_check();
	tree_end();
	pass();
}

#endif
