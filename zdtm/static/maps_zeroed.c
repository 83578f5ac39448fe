/*
 * title: pages that were overwritten with zeroes are zeroes: anonymous ones, a file's, and those of a child
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

/* Every third page is zeroed: runs that are all zeroes, that begin, end and are cut by some; more than 256
 * KiB. */
enum { PAGES = 200, SIZE = PAGES * PAGE };

struct shared {
	uint32_t dumped;
};

static int is_zeroed(int page, int from)
{
	return page % 3 == 0 || (page >= from && page < from + 80);
}

static void zero(unsigned char *memory, int from)
{
	for (int page = 0; page < PAGES; page++)
		if (is_zeroed(page, from))
			memset(memory + page * PAGE, 0, PAGE);
}

static void check(const unsigned char *memory, int from, const char *what)
{
	static unsigned char want[SIZE];

	test_fill(want, SIZE, 5);
	zero(want, from);
	for (int i = 0; i < SIZE; i++)
		CHECK(memory[i] == want[i], "%s: byte %#x of page %d is %d, not %d", what, i % PAGE, i / PAGE,
		      memory[i], want[i]);
}

int main(int argc, char **argv)
{
	unsigned char *memory, *file;
	struct shared *shared;
	pid_t child;
	int fd;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	fd = SYS(open(test_path("file"), O_RDWR | O_CREAT, 0600));
	test_fill(memory, SIZE, 5);
	CHECK(write(fd, memory, SIZE) == SIZE, "short write");
	file = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	child = SYS(fork());
	if (!child) {
		zero(memory, 100);
		zero(file, 90);
		test_post(&shared->dumped);
		test_await(&shared->dumped, 2);
		check(memory, 100, "the child's memory");
		check(file, 90, "the child's file");
		_exit(0);
	}
	test_await(&shared->dumped, 1);
	zero(memory, 20);
	zero(file, 30);
	test_daemon();
	test_waitsig();
	check(memory, 20, "memory");
	check(file, 30, "file");
	test_post(&shared->dumped);
	test_reap(child);
	pass();
}
