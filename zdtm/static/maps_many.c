/*
 * title: many mappings, large and small, sparse, cut up and advised, are all there with what they held
 * flavours: host ns userns
 * timeout: 60
 */
#include "zdtm.h"

#include <sys/mman.h>

#define PAGE 4096UL
#define MIB  (1UL << 20)

enum { SMALL = 600, FULL = 24, SPARSE = 64, CUT = 16 };

static unsigned char *anonymous(size_t length, int protection, int more)
{
	return SYS(mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0));
}

static void check(const unsigned char *memory, size_t length, uint32_t seed, const char *what,
		  unsigned long i)
{
	long at = test_differs(memory, length, seed);

	CHECK(at < 0, "%s %lu: byte %ld differs", what, i, at);
}

static bool is_zero(const unsigned char *memory, size_t length)
{
	return !memory[0] && !memcmp(memory, memory + 1, length - 1);
}

int main(int argc, char **argv)
{
	int rw = PROT_READ | PROT_WRITE;
	unsigned char *small, *full, *sparse, *cut, *advised, *reserved;
	unsigned long i;

	test_init(argc, argv);

	/* One page each, with a hole after every one. */
	small = anonymous(2 * SMALL * PAGE, rw, 0);
	for (i = 0; i < SMALL; i++) {
		test_fill(small + 2 * i * PAGE, PAGE, (uint32_t)i);
		SYS(munmap(small + (2 * i + 1) * PAGE, PAGE));
	}

	full = anonymous(FULL * MIB, rw, 0);
	test_fill(full, FULL * MIB, 1000);

	/* Every 16th page only, and some that were touched but hold zeros. */
	sparse = anonymous(SPARSE * MIB, rw, 0);
	for (i = 0; i < SPARSE * MIB / PAGE; i += 16) {
		test_fill(sparse + i * PAGE, PAGE, (uint32_t)i);
		sparse[(i + 3) * PAGE] = 0;
	}

	/* The middle cannot be read, the third quarter is gone, the last is read-only. */
	cut = anonymous(CUT * PAGE, rw, 0);
	test_fill(cut, CUT * PAGE, 2000);
	SYS(mprotect(cut + 4 * PAGE, 4 * PAGE, PROT_NONE));
	SYS(munmap(cut + 8 * PAGE, 4 * PAGE));
	SYS(mprotect(cut + 12 * PAGE, 4 * PAGE, PROT_READ));

	/* Advice that must not be lost; a part of it was dropped, and is zero. */
	advised = anonymous(4 * PAGE, rw, 0);
	test_fill(advised, 4 * PAGE, 3000);
	SYS(madvise(advised, PAGE, MADV_DONTFORK));
	SYS(madvise(advised + PAGE, PAGE, MADV_DONTDUMP));
	SYS(madvise(advised + 2 * PAGE, PAGE, MADV_SEQUENTIAL));
	SYS(madvise(advised + 3 * PAGE, PAGE, MADV_DONTNEED));

	/* More than there is memory for, with little in it. */
	reserved = anonymous(1UL << 36, rw, MAP_NORESERVE);
	test_fill(reserved + (1UL << 35), PAGE, 4000);

	test_daemon();
	test_waitsig();

	for (i = 0; i < SMALL; i++)
		check(small + 2 * i * PAGE, PAGE, (uint32_t)i, "small", i);
	check(full, FULL * MIB, 1000, "full", 0);
	for (i = 0; i < SPARSE * MIB / PAGE; i++) {
		if (i % 16 == 0)
			check(sparse + i * PAGE, PAGE, (uint32_t)i, "sparse", i);
		else if (i % 16 < 5)
			CHECK(is_zero(sparse + i * PAGE, PAGE), "sparse %lu: not zero", i);
	}
	SYS(mprotect(cut + 4 * PAGE, 4 * PAGE, PROT_READ));
	check(cut, 8 * PAGE, 2000, "cut", 0);
	SYS(mprotect(cut + 12 * PAGE, 4 * PAGE, rw));
	{
		/* The pattern of a part depends on all before it: make the whole again, and compare the end.
		 */
		unsigned char *again = anonymous(CUT * PAGE, rw, 0);

		test_fill(again, CUT * PAGE, 2000);
		CHECK(!memcmp(again + 12 * PAGE, cut + 12 * PAGE, 4 * PAGE), "cut: the end differs");
	}
	check(advised, 3 * PAGE, 3000, "advised", 0);
	CHECK(is_zero(advised + 3 * PAGE, PAGE), "what was dropped is back");
	check(reserved + (1UL << 35), PAGE, 4000, "reserved", 0);
	CHECK(is_zero(reserved + (1UL << 34), PAGE), "reserved: not zero");
	pass();
}
