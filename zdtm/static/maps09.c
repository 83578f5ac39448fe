/*
 * title: anonymous mappings of huge pages, private and shared, keep page size, device and contents
 * flavours: host ns userns
 */
#include "memory.h"

#include <sys/sysmacros.h>

enum { AREAS = 2 };
#define HUGE (2 * MIB)
#define SIZE (2 * HUGE)

static const struct {
	const char *name;
	int flags;
} areas[AREAS] = {{"private", MAP_PRIVATE}, {"shared", MAP_SHARED}};

/* The device of the file system behind the mapping at an address. */
static dev_t device(const void *address)
{
	unsigned int major_number, minor_number;
	unsigned long from, to;
	char line[512];
	FILE *file = fopen("/proc/self/maps", "re");

	CHECK(file, "maps: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx-%lx %*s %*s %x:%x", &from, &to, &major_number, &minor_number) == 4 &&
		    from <= (unsigned long)address && (unsigned long)address < to) {
			fclose(file);
			return makedev(major_number, minor_number);
		}
	fail("nothing is mapped at %p", address);
}

int main(int argc, char **argv)
{
	unsigned char *memory[AREAS];
	dev_t was[AREAS];

	test_init(argc, argv);
	for (int i = 0; i < AREAS; i++) {
		memory[i] =
			mmap(NULL, SIZE, RW, areas[i].flags | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0);
		if (memory[i] == MAP_FAILED)
			skip("this machine has no free huge pages of 2 MiB (vm.nr_overcommit_hugepages)");
		pages_fill(memory[i], 1, 10 * (uint32_t)i + 1);
		pages_fill(memory[i] + SIZE - PAGE, 1, 10 * (uint32_t)i + 2);
		was[i] = device(memory[i]);
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < AREAS; i++) {
		pages_check(memory[i], 1, 10 * (uint32_t)i + 1, areas[i].name);
		pages_check(memory[i] + SIZE - PAGE, 1, 10 * (uint32_t)i + 2, areas[i].name);
		zeros_check(memory[i] + PAGE, SIZE / PAGE - 2, areas[i].name);
		CHECK(device(memory[i]) == was[i], "%s: another device", areas[i].name);
		CHECK(smaps_kib(memory[i], SIZE, "KernelPageSize") == (long)HUGE / 1024, "%s: other pages",
		      areas[i].name);
		/* Its pages are reserved: there is one for each. */
		memory[i][HUGE - 1] = 1;
		memory[i][SIZE - 1] = 1;
	}
	pass();
}
