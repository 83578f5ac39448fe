/*
 * title: the places of vdso and vvar stay mapped as they were, and little comes in addition
 * flavours: host ns userns
 */
#include "vdso.h"

#include <stdio.h>

enum { MAX = 128, NEW = 2 };

struct area {
	unsigned long start, end;
	char perms[8], name[64];
};

struct list {
	int count;
	struct area area[MAX];
};

static struct list before, after;
static char text[1 << 16];

/* Neighbours that the kernel makes of vvar are one. It allocates nothing: that would be a new area itself. */
static void look(struct list *list)
{
	FILE *maps = SYS(fopen("/proc/self/maps", "r"));
	char *line = text;

	CHECK(maps, "/proc/self/maps cannot be read");
	text[fread(text, 1, sizeof(text) - 1, maps)] = 0;
	fclose(maps);
	for (list->count = 0; *line; line = strchr(line, '\n') + 1) {
		struct area *area = &list->area[list->count], *last = area - 1;

		area->name[0] = 0;
		CHECK(list->count < MAX, "too many mappings");
		CHECK(sscanf(line, "%lx-%lx %7s %*s %*s %*s%*[ ]%63[^\n]", &area->start, &area->end,
			     area->perms, area->name) >= 3,
		      "cannot parse %.80s", line);
		if (list->count && !strncmp(area->name, "[vvar", 5) && !strncmp(last->name, "[vvar", 5) &&
		    area->start == last->end)
			last->end = area->end;
		else
			list->count++;
	}
}

static struct area *find(struct list *list, unsigned long start, unsigned long end)
{
	for (int i = 0; i < list->count; i++)
		if (list->area[i].start <= start && end <= list->area[i].end)
			return &list->area[i];
	return NULL;
}

int main(int argc, char **argv)
{
	int kept = 0, added = 0;

	test_init(argc, argv);
	vdso_init();
	vdso_check();
	look(&before); /* now stdio has what it needs */
	look(&before);
	test_daemon();
	test_waitsig();
	look(&after);
	for (int i = 0; i < before.count; i++) {
		struct area *was = &before.area[i], *now = find(&after, was->start, was->end);

		if (strncmp(was->name, "[vvar", 5) && strcmp(was->name, "[vdso]"))
			continue;
		CHECK(now, "%s is no longer mapped at %lx", was->name, was->start);
		CHECK(!strcmp(now->perms, was->perms), "%s has %s, not %s", was->name, now->perms,
		      was->perms);
		kept++;
	}
	CHECK(kept == 2, "%d of vdso and vvar are there", kept);
	for (int i = 0; i < after.count; i++) {
		struct area *now = &after.area[i];

		if (!find(&before, now->start, now->start + 1)) {
			test_msg("new: %lx-%lx %s %s\n", now->start, now->end, now->perms, now->name);
			added++;
		}
	}
	CHECK(added <= NEW, "%d new mappings", added);
	vdso_check();
	pass();
}
