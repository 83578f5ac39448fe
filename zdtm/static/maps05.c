/*
 * title: thousands of mappings of a page, and two that grow, hold their numbers, and grow on
 * flavours: host ns userns
 */
#include "memory.h"

enum { SINGLE = 4096, GROWING = 2, FIRST = 4, GAP = 1024, MORE = 8 };

static uint32_t *number(unsigned char *page)
{
	return (uint32_t *)(page + 12);
}

int main(int argc, char **argv)
{
	unsigned char *single, *room, *growing[GROWING];

	test_init(argc, argv);
	single = map_nothing(2 * SINGLE * PAGE);
	for (uint32_t i = 0; i < SINGLE; i++) {
		SYS(mprotect(single + 2 * i * PAGE, PAGE, RW));
		SYS(munmap(single + (2 * i + 1) * PAGE, PAGE));
		*number(single + 2 * i * PAGE) = i;
	}
	/* Below each there is room; one has grown already. */
	room = map_nothing(GROWING * GAP * PAGE);
	SYS(munmap(room, GROWING * GAP * PAGE));
	for (uint32_t i = 0; i < GROWING; i++) {
		growing[i] = SYS(mmap(room + ((i + 1) * GAP - FIRST) * PAGE, FIRST * PAGE, RW,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
		for (uint32_t page = 0; page < FIRST + i * MORE; page++) {
			unsigned char *at = room + ((i + 1) * GAP - 1 - page) * PAGE;

			*number(at) = 10000 * (i + 1) + page;
		}
	}
	CHECK(smaps_kib(growing[1] - MORE * PAGE, PAGE, "Size") == (long)((FIRST + MORE) * PAGE / 1024),
	      "it has not grown");
	test_daemon();
	test_waitsig();
	for (uint32_t i = 0; i < SINGLE; i++)
		CHECK(*number(single + 2 * i * PAGE) == i, "page %u has number %u", i,
		      *number(single + 2 * i * PAGE));
	for (uint32_t i = 0; i < GROWING; i++) {
		for (uint32_t page = 0; page < FIRST + i * MORE; page++) {
			unsigned char *at = room + ((i + 1) * GAP - 1 - page) * PAGE;

			CHECK(*number(at) == 10000 * (i + 1) + page, "page %u of area %u has number %u", page,
			      i, *number(at));
		}
		*number(growing[i] - 2 * MORE * PAGE) = 1;
	}
	pass();
}
