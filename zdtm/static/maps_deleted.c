/*
 * title: mappings of deleted files, private and shared, with changes, are of one file in parent and child
 * flavours: host ns userns
 */
#include "memory.h"

enum { PAGES = 8, SEED = 50 };

struct words {
	uint32_t ready, go, done;
};

int main(int argc, char **argv)
{
	unsigned char *own, *shared, *late;
	struct words *words;
	pid_t child;
	int fd;

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	fd = file_make("file", PAGES, SEED);
	own = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE, fd, 0));
	shared = SYS(mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, fd, 0));
	SYS(unlink("file"));
	pages_fill(own + PAGE, 1, 100);
	child = SYS(fork());
	if (!child) {
		SYS(munmap(shared, 2 * PAGE));
		pages_fill(own + 2 * PAGE, 1, 200);
		pages_fill(shared + 3 * PAGE, 1, 300);
		test_post(&words->ready);
		test_await(&words->go, 1);
		pages_check(own + PAGE, 1, 100, "child: changed before the fork");
		pages_check(own + 2 * PAGE, 1, 200, "child: changed by itself");
		pages_check(shared + 3 * PAGE, 1, 300, "child: shared");
		pages_fill(shared + 4 * PAGE, 1, 400);
		CHECK(page_is(own + 4 * PAGE, 400), "child: private and shared mapping are not of one file");
		test_post(&words->done);
		test_await(&words->go, 2);
		_exit(0);
	}
	test_await(&words->ready, 1);
	late = SYS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, (PAGES - 1) * PAGE));
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	pages_check(own, 1, SEED, "private, unchanged");
	pages_check(own + PAGE, 1, 100, "private, changed");
	pages_check(own + 2 * PAGE, 1, SEED + 2, "private, changed by the child alone");
	pages_check(shared, 3, SEED, "shared");
	pages_check(shared + 3 * PAGE, 1, 300, "shared, changed by the child");
	pages_check(late, 1, SEED + PAGES - 1, "the last page");
	test_post(&words->go);
	test_await(&words->done, 1);
	CHECK(page_is(shared + 4 * PAGE, 400) && page_is(own + 4 * PAGE, 400), "the child has another file");
	pages_fill(shared + (PAGES - 1) * PAGE, 1, 500);
	CHECK(page_is(late, 500), "the last page is of another file");
	test_post(&words->go);
	test_reap(child);
	CHECK(access("file", F_OK) == -1 && errno == ENOENT, "the file is back");
	pass();
}
