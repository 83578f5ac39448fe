/*
 * title: shared anonymous memory has the name and nature that the kernel gives it, not a memfd's
 * flavours: host ns userns
 */
#include "memory.h"

int main(int argc, char **argv)
{
	char line[SMAPS_LINE], prefix[32];
	unsigned char *memory;
	bool found = false;
	FILE *file;

	test_init(argc, argv);
	memory = map_nothing(3 * PAGE) + PAGE;
	SYS(mmap(memory, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	pages_fill(memory, 1, 1);
	test_daemon();
	test_waitsig();
	snprintf(prefix, sizeof(prefix), "%lx-", (unsigned long)memory);
	file = fopen("/proc/self/maps", "re");
	while (!found && fgets(line, sizeof(line), file))
		found = !strncmp(line, prefix, strlen(prefix));
	CHECK(found && strstr(line, " /dev/zero (deleted)\n"), "the mapping is: %s", found ? line : "gone");
	pages_check(memory, 1, 1, "it");
	pass();
}
