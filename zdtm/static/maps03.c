/*
 * title: 10 GiB of which two bytes were touched keep these, and nothing else comes in
 * flavours: host ns userns
 * flags: noauto
 */
#include "memory.h"

#define SIZE (10UL << 30)

int main(int argc, char **argv)
{
	unsigned char *memory;

	test_init(argc, argv);
	memory = map_nothing(SIZE + 2 * PAGE) + PAGE;
	SYS(mprotect(memory, SIZE, RW));
	SYS(madvise(memory, SIZE, MADV_NOHUGEPAGE));
	memory[SIZE / 3] = 0x5a;
	memory[SIZE - 1] = 0xa5;
	test_daemon();
	test_waitsig();
	CHECK(pages_there(memory, SIZE / PAGE) == 2, "there are %zu pages instead of 2",
	      pages_there(memory, SIZE / PAGE));
	CHECK(memory[SIZE / 3] == 0x5a && memory[SIZE - 1] == 0xa5, "the bytes are %#x and %#x",
	      memory[SIZE / 3], memory[SIZE - 1]);
	pass();
}
