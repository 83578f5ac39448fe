/*
 * title: large shared areas, one cut in two by mremap, one mapped again, are the child's too
 * flavours: host ns
 * flags: suid
 */
#include "child.h"
#include "memory.h"

enum { STEP = 2003 };
#define SIZE (1UL << 30)

/* Four views of two areas: the halves of the first lie apart, the second is there twice. */
static unsigned char *low, *high, *plain, *again;

static unsigned char *page_of_first(size_t page)
{
	return page < SIZE / PAGE / 2 ? low + page * PAGE : high + (page - SIZE / PAGE / 2) * PAGE;
}

static void fill(uint32_t seed)
{
	for (size_t page = 0; page < SIZE / PAGE; page += STEP) {
		test_fill(page_of_first(page), PAGE, seed + (uint32_t)page);
		test_fill((page % 2 ? plain : again) + page * PAGE, PAGE, seed + 1 + (uint32_t)page);
	}
}

static void check(const char *who, uint32_t seed)
{
	for (size_t page = 0; page < SIZE / PAGE; page += STEP) {
		CHECK(page_is(page_of_first(page), seed + (uint32_t)page), "%s: page %zu differs", who, page);
		CHECK(page_is(plain + page * PAGE, seed + 1 + (uint32_t)page), "%s: page %zu differs", who,
		      page);
		CHECK(page_is(again + page * PAGE, seed + 1 + (uint32_t)page),
		      "%s: the other page %zu differs", who, page);
		CHECK(page_is_zero(page_of_first(page + 1)), "%s: a page behind page %zu is not zero", who,
		      page);
	}
}

int main(int argc, char **argv)
{
	pid_t child;
	int fd;

	test_init(argc, argv);
	low = map_anonymous(SIZE, MAP_SHARED);
	high = SYS(mremap(low + SIZE / 2, SIZE / 2, SIZE / 2, MREMAP_MAYMOVE | MREMAP_FIXED,
			  map_nothing(SIZE / 2 + 2 * PAGE) + PAGE));
	plain = map_nothing(SIZE + 2 * PAGE) + PAGE;
	SYS(mmap(plain, SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	fd = map_files_open(plain, SIZE, O_RDWR);
	again = SYS(mmap(NULL, SIZE, RW, MAP_SHARED, fd, 0));
	SYS(close(fd));
	fill(1);
	child = child_fork();
	if (!child) {
		child_wait();
		check("child", 1);
		fill(1000000);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check("parent", 1);
	child_go();
	test_reap(child);
	check("parent, after the child wrote", 1000000);
	pass();
}
