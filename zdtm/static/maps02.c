/*
 * title: mappings keep their advice, and neighbours that differ in it alone stay apart
 * flavours: host ns userns
 */
#include "memory.h"

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
	{"droppable", "dp", MAP_DROPPABLE, 0},
};

#define AREAS (sizeof(areas) / sizeof(areas[0]))
#define SIZE  (4 * PAGE)

int main(int argc, char **argv)
{
	char before[AREAS][SMAPS_LINE], now[SMAPS_LINE], *base, *at[AREAS];
	const int fixed = MAP_ANONYMOUS | MAP_FIXED;

	test_init(argc, argv);
	base = SYS(mmap(NULL, SIZE * AREAS * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (unsigned i = 0; i < AREAS; i++) {
		/* Those that only advice tells apart are neighbours; a growing one needs room below. */
		at[i] = base + SIZE * (areas[i].flags & MAP_GROWSDOWN ? i + 6 : i);
		/* A kind of its own, of newer kernels: neither private nor shared. */
		if (areas[i].flags == MAP_DROPPABLE &&
		    mmap(at[i], SIZE, RW, fixed | MAP_DROPPABLE, -1, 0) == at[i])
			continue;
		SYS(mmap(at[i], SIZE, RW, fixed | MAP_PRIVATE | (areas[i].flags & ~MAP_DROPPABLE), -1, 0));
		if (areas[i].advice && madvise(at[i], SIZE, areas[i].advice))
			CHECK(errno == EINVAL, "madvise, %s: %m", areas[i].name);
		test_fill(at[i] + PAGE, 2 * PAGE, i);
	}
	for (unsigned i = 0; i < AREAS; i++)
		CHECK(smaps(at[i], PAGE, "VmFlags", before[i]) == 0, "%s: not there", areas[i].name);
	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < AREAS; i++) {
		CHECK(smaps(at[i], PAGE, "VmFlags", now) == 0, "%s: not there", areas[i].name);
		CHECK(!strcmp(now, before[i]), "%s: flags are%s instead of%s", areas[i].name, now, before[i]);
		/* what may be dropped may have been */
		CHECK(areas[i].flags == MAP_DROPPABLE || test_differs(at[i] + PAGE, 2 * PAGE, i) < 0,
		      "%s: contents differ", areas[i].name);
	}
	pass();
}
