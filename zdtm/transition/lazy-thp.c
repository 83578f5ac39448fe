/*
 * title: of memory of which every other page is rewritten all the time no page holds another's value
 * flavours: host ns userns
 */
#include "memory.h"

enum { PAGES = 4096 };

static uint32_t *value(unsigned char *memory, uint32_t page)
{
	return (uint32_t *)(memory + page * PAGE + page % 1000 * sizeof(uint32_t));
}

static void check(unsigned char *memory, uint32_t page, uint32_t round)
{
	CHECK(*value(memory, page) == page + round, "page %u holds %u instead of %u", page,
	      *value(memory, page), page + round);
}

int main(int argc, char **argv)
{
	unsigned char *memory = malloc(PAGES * PAGE);
	uint32_t round = 0, page;

	test_init(argc, argv);
	CHECK(memory, "out of memory");
	for (page = 0; page < PAGES; page++)
		*value(memory, page) = page;
	test_daemon();
	while (test_go() || round < 2) {
		/* The odd ones as they are from the start, the even ones as the last round left them. */
		for (page = 0; page < PAGES; page += 2) {
			check(memory, page, round);
			check(memory, page + 1, 0);
			*value(memory, page) = page + round + 1;
		}
		round++;
	}
	for (page = 0; page < PAGES; page++)
		check(memory, page, page % 2 ? 0 : round);
	pass();
}
