/*
 * title: a child that maps a shared area anew all the time counts in it, and its parent finds the sum
 * flavours: host ns userns
 * ignore: children
 */
#include "memory.h"

enum { PAGES = 16 };

struct words {
	uint32_t stop, counted;
	uint64_t sum;
};

/* Counter `page` is somewhere in page `page`. */
static uint64_t *counter(unsigned char *memory, size_t page)
{
	return (uint64_t *)(memory + page * PAGE) + page * 7;
}

static _Noreturn void child(unsigned char *memory, struct words *words)
{
	uint64_t round = 0;

	while (!__atomic_load_n(&words->stop, __ATOMIC_SEQ_CST) || round < 100) {
		size_t page = round++ % PAGES;
		/* One page goes elsewhere and, with another count, back. */
		unsigned char *at = memory + page * PAGE, *away = map_nothing(PAGE);

		SYS(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, away));
		*counter(away - page * PAGE, page) += round;
		words->sum += round;
		SYS(mremap(away, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at));
		if (round == 100)
			test_post(&words->counted);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned char *memory;
	struct words *words;
	uint64_t sum = 0;
	pid_t pid;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	memory = map_anonymous(PAGES * PAGE, MAP_SHARED);
	pid = SYS(fork());
	if (!pid)
		child(memory, words);
	test_await(&words->counted, 1);
	test_daemon();
	test_waitsig();
	test_post(&words->stop);
	test_reap(pid);
	for (size_t page = 0; page < PAGES; page++)
		sum += *counter(memory, page);
	CHECK(sum == words->sum, "the counters have the sum %lu instead of %lu", sum, words->sum);
	pass();
}
