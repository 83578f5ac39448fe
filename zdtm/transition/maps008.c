/*
 * title: seven tasks see the same in shared areas that they have cut, moved and never stop writing
 * flavours: host
 * flags: suid
 */
#include "memory.h"

#include <signal.h>

enum { TASKS = 7, PAGES = 70, ROUNDS = 3 };

struct words {
	uint32_t ready, stop, stopped;
	uint32_t round[PAGES]; /* of the page's owner, when all have stopped */
};

static struct words *words;
static unsigned char *view[PAGES]; /* where this task has a page, or NULL */

/* Each task has its own mappings: pieces that are gone, that lie elsewhere, that are there by another way. */
static void cut(int who, unsigned char *memory)
{
	unsigned char *elsewhere = map_nothing(PAGES * PAGE);
	int first = who * 3, fd;

	for (int page = 0; page < PAGES; page++)
		view[page] = memory + page * PAGE;
	/* Not its own pages, which are those that leave the rest `who`. */
	for (int page = first; page < first + 6; page++)
		if (page % TASKS != who) {
			SYS(munmap(view[page], PAGE));
			view[page] = NULL;
		}
	first = 30 + who;
	SYS(mremap(view[first], 5 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE));
	for (int i = 0; i < 5; i++)
		view[first + i] = elsewhere + (1 + i) * PAGE;
	/* The whole object, whatever is mapped of it. */
	fd = map_files_open(elsewhere + PAGE, 5 * PAGE, O_RDWR);
	first = 50 + who * 2;
	SYS(mmap(elsewhere + 10 * PAGE, 3 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, first * (off_t)PAGE));
	for (int i = 0; i < 3; i++)
		view[first + i] = elsewhere + (10 + i) * PAGE;
	SYS(close(fd));
}

/* What it writes is what its round makes; nobody else writes there. */
static void work(int who)
{
	uint32_t round = 0;

	while (round < ROUNDS || (who ? !__atomic_load_n(&words->stop, __ATOMIC_SEQ_CST) : test_go())) {
		for (int page = who; page < PAGES; page += TASKS) {
			CHECK(!round || page_is(view[page], (round - 1) * PAGES + (uint32_t)page),
			      "task %d: page %d is not what round %u has made", who, page, round);
			test_fill(view[page], PAGE, round * PAGES + (uint32_t)page);
		}
		if (++round == ROUNDS) {
			test_post(&words->ready);
			if (!who)
				test_await(&words->ready, TASKS);
			if (!who)
				test_daemon();
		}
	}
	for (int page = who; page < PAGES; page += TASKS)
		words->round[page] = round - 1;
}

static void check(int who)
{
	for (int page = 0; page < PAGES; page++)
		CHECK(!view[page] || page_is(view[page], words->round[page] * PAGES + (uint32_t)page),
		      "task %d: page %d is not what task %d has made", who, page, page % TASKS);
}

/* Task `who` starts 2 * who + 1 and 2 * who + 2. */
static void run(int who, unsigned char *memory)
{
	pid_t children[2] = {0};

	for (int i = 0; i < 2 && 2 * who + 1 + i < TASKS; i++) {
		children[i] = SYS(fork());
		if (!children[i]) {
			SYS(signal(SIGTERM, SIG_IGN));
			run(2 * who + 1 + i, memory);
			_exit(0);
		}
	}
	cut(who, memory);
	work(who);
	if (!who)
		test_post(&words->stop);
	test_post(&words->stopped);
	test_await(&words->stopped, TASKS);
	check(who);
	for (int i = 0; i < 2; i++)
		if (children[i])
			test_reap(children[i]);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	run(0, map_anonymous(PAGES * PAGE, MAP_SHARED));
	pass();
}
