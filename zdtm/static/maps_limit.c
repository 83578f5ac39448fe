/*
 * title: nearly as many mappings as a process may have are all there
 * flavours: host ns userns
 * timeout: 60
 */
#include "memory.h"

/* Left for the engine's own and for what comes with the program. */
enum { LEFT = 500 };

int main(int argc, char **argv)
{
	unsigned long count = strtoul(test_read_file("/proc/sys/vm/max_map_count", NULL), NULL, 10) - LEFT;
	unsigned char *memory;

	test_init(argc, argv);
	/* More would only take time: it is one for each even number, and one for each odd one. */
	if (count > 65530 - LEFT)
		count = 65530 - LEFT;
	memory = map_nothing(count * PAGE);
	for (unsigned long i = 0; i < count; i += 2) {
		SYS(mprotect(memory + i * PAGE, PAGE, RW));
		/* Every 16th page is there. */
		if (i % 16 == 0)
			*(unsigned long *)(memory + i * PAGE + i % 4000) = ~i;
	}
	test_daemon();
	test_waitsig();
	for (unsigned long i = 0; i < count; i += 16)
		CHECK(*(unsigned long *)(memory + i * PAGE + i % 4000) == ~i, "page %lu lost its number", i);
	CHECK(pages_there(memory, count) == (count + 15) / 16, "%zu pages are there instead of %lu",
	      pages_there(memory, count), (count + 15) / 16);
	for (unsigned long i = 0; i < count; i += 2)
		memory[i * PAGE] = 1;
	pass();
}
