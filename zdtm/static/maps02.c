/*
 * title: mappings keep their advice, and neighbours that differ in it alone stay apart
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

static const struct {
	const char *name, *flag;
	int flags, advice;
} areas[] = {
	{"plain", "rd", 0, 0},
	{"not for children", "dc", 0, MADV_DONTFORK},
	{"not in core files", "dd", 0, MADV_DONTDUMP},
	{"mergeable", "mg", 0, MADV_MERGEABLE},
	{"huge", "hg", 0, MADV_HUGEPAGE},
	{"never huge", "nh", 0, MADV_NOHUGEPAGE},
	{"random", "rr", 0, MADV_RANDOM},
	{"sequential", "sr", 0, MADV_SEQUENTIAL},
	{"wiped for children", "wf", 0, MADV_WIPEONFORK},
	{"not reserved", "nr", MAP_NORESERVE, 0},
	{"locked", "lo", MAP_LOCKED, 0},
	{"growing down", "gd", MAP_GROWSDOWN, 0},
};

#define AREAS (sizeof(areas) / sizeof(areas[0]))
#define SIZE  (4 * 4096)

/* The VmFlags of the mapping that starts here; empty when none does. */
static void flags_at(const void *start, char *flags, size_t size)
{
	char line[512], prefix[32], *end;
	FILE *f = fopen("/proc/self/smaps", "r");
	int found = 0;

	*flags = '\0';
	snprintf(prefix, sizeof(prefix), "%lx-", (unsigned long)start);
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, prefix, strlen(prefix)))
			found = 1;
		if (found && !strncmp(line, "VmFlags:", 8)) {
			end = memccpy(flags, line + 8, '\n', size);
			CHECK(end, "no room for flags:%s", line + 8);
			end[-1] = '\0';
			break;
		}
	}
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	char before[AREAS][128], now[128], *base, *at[AREAS];

	test_init(argc, argv);
	base = SYS(mmap(NULL, SIZE * AREAS * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (unsigned i = 0; i < AREAS; i++) {
		/* Those that only advice tells apart are neighbours; a growing one needs room below. */
		at[i] = base + SIZE * (areas[i].flags & MAP_GROWSDOWN ? i + 6 : i);
		SYS(mmap(at[i], SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | areas[i].flags, -1, 0));
		if (areas[i].advice && madvise(at[i], SIZE, areas[i].advice))
			CHECK(errno == EINVAL, "madvise, %s: %m", areas[i].name);
		test_fill(at[i] + 4096, 8192, i);
	}
	for (unsigned i = 0; i < AREAS; i++)
		flags_at(at[i], before[i], sizeof(before[i]));
	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < AREAS; i++) {
		flags_at(at[i], now, sizeof(now));
		CHECK(!strcmp(now, before[i]), "%s: flags are%s instead of%s", areas[i].name, now, before[i]);
		CHECK(test_differs(at[i] + 4096, 8192, i) < 0, "%s: contents differ", areas[i].name);
	}
	pass();
}
