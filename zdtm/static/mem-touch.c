/*
 * title: of pages that are written all the time, at random, none loses or doubles a value
 * flavours: host ns userns
 * flags: noauto
 */
#include "memory.h"

enum { PAGES = 4096 };

int main(int argc, char **argv)
{
	static uint64_t shadow[PAGES];
	unsigned long rounds = 0;
	unsigned char *memory;

	test_init(argc, argv);
	memory = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	srandom((unsigned int)getpid());
	test_daemon();
	while (test_go() || rounds < PAGES) {
		unsigned long page = (unsigned long)random() % PAGES;
		volatile uint64_t *word =
			(void *)(memory + page * PAGE + page % (PAGE / sizeof(*word)) * sizeof(*word));

		CHECK(*word == shadow[page], "page %lu holds %lx instead of %lx", page, *word, shadow[page]);
		shadow[page] = ++rounds;
		*word = rounds;
	}
	for (unsigned long page = 0; page < PAGES; page++) {
		uint64_t *word =
			(void *)(memory + page * PAGE + page % (PAGE / sizeof(*word)) * sizeof(*word));

		CHECK(*word == shadow[page], "page %lu holds %lx instead of %lx", page, *word, shadow[page]);
		*word = 0;
		CHECK(page_is_zero(memory + page * PAGE), "page %lu holds more than its word", page);
	}
	pass();
}
