/*
 * title: three generations have shared memory in common, some of it with each other alone
 * flavours: host ns userns
 */
#include "memory.h"
#include "tree.h"

enum { AREAS = 3, TASKS = 5, PAGES = 8 };

/* Of each area the tasks that have it; made by the first of them, before it forked. */
static const bool has[AREAS][TASKS] = {
	{true, true, true, true, true},
	{false, true, false, true, true},
	{false, true, false, false, true}, /* 3 has unmapped it */
};
static unsigned char *area[AREAS];

static void makes(struct tree_task *self, int i)
{
	area[i] = map_anonymous(PAGES * PAGE, MAP_SHARED);
	pages_fill(area[i], PAGES, 100 * (uint32_t)i);
	(void)self;
}

static void drops(struct tree_task *self, int i)
{
	SYS(munmap(area[i], PAGES * PAGE));
	(void)self;
}

static void writes(struct tree_task *self, int i)
{
	pages_fill(area[i] + tree_number(self) * PAGE, 1, 1000 * (uint32_t)i + (uint32_t)tree_number(self));
}

/* Every task has written its page of it. */
static void reads(struct tree_task *self, int i)
{
	for (int who = 0; who < PAGES; who++) {
		bool written = who < TASKS && has[i][who];
		uint32_t seed = written ? 1000 * (uint32_t)i + (uint32_t)who
					: 100 * (uint32_t)i + (uint32_t)who;

		CHECK(page_is(area[i] + who * PAGE, seed), "task %d does not see page %d of area %d",
		      tree_number(self), who, i);
	}
}

static void clears(struct tree_task *self, int i)
{
	memset(area[i] + tree_number(self) * PAGE, 0, PAGE);
}

static void sees_cleared(struct tree_task *self, int i)
{
	for (int who = 0; who < TASKS; who++)
		CHECK(!has[i][who] || page_is_zero(area[i] + who * PAGE),
		      "task %d does not see what task %d did to area %d", tree_number(self), who, i);
}

static void all(void (*what)(struct tree_task *self, int i))
{
	for (int i = 0; i < AREAS; i++)
		for (int who = 0; who < TASKS; who++)
			if (has[i][who])
				tree_step(who, what, i);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tree_start();
	tree_step(0, makes, 0);
	tree_fork(0, 1);
	tree_fork(0, 2);
	tree_step(1, makes, 1);
	tree_step(1, makes, 2);
	tree_fork(1, 3);
	tree_fork(1, 4);
	tree_step(3, drops, 2);
	tree_record();
	all(writes);
	test_daemon();
	test_waitsig();
	all(reads);
	tree_check();
	all(clears);
	all(sees_cleared);
	tree_end();
	pass();
}
