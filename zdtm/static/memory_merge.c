/*
 * title: a process all of whose memory may be merged (KSM) stays one, and its child that is not
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

enum { SIZE = 4 * 4096 };

/* The flags of the mapping that this lies in. */
static bool may_be_merged(const void *memory)
{
	unsigned long start, end, at = (unsigned long)memory;
	FILE *file = fopen("/proc/self/smaps", "re");
	bool found = false, merged = false;
	char line[512];

	CHECK(file, "smaps: %m");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			found = start <= at && at < end;
		else if (found && !strncmp(line, "VmFlags:", 8))
			merged = strstr(line, " mg");
	}
	fclose(file);
	return merged;
}

static unsigned char *map(void)
{
	return SYS(
		mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

static void check(const char *who, bool wanted, const void *old, const void *other)
{
	int now = SYS(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0));

	CHECK(now == wanted, "%s: it is %d", who, now);
	CHECK(may_be_merged(old) == wanted, "%s: an old mapping", who);
	CHECK(!may_be_merged(other), "%s: one that was taken out of it", who);
	CHECK(may_be_merged(map()) == wanted, "%s: a new mapping", who);
}

int main(int argc, char **argv)
{
	unsigned char *area;
	uint32_t *words;
	pid_t child;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	area = map();
	/* Two mappings with one that nobody may touch in between, so that they are two. */
	SYS(mprotect(area + SIZE / 2, 4096, PROT_NONE));
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))
		skip("this kernel merges no pages of whole processes: %m");
	SYS(madvise(area + SIZE / 2 + 4096, SIZE / 2 - 4096, MADV_UNMERGEABLE));
	child = SYS(fork());
	if (!child) {
		SYS(prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0));
		test_post(&words[0]);
		test_await(&words[1], 1);
		check("the child", false, area, area + SIZE / 2 + 4096);
		_exit(0);
	}
	test_await(&words[0], 1);
	check("the test, before", true, area, area + SIZE / 2 + 4096);
	test_daemon();
	test_waitsig();
	check("the test", true, area, area + SIZE / 2 + 4096);
	test_post(&words[1]);
	test_reap(child);
	pass();
}
