/*
 * title: huge pages in a mapping without advice are huge again, and there still is no advice
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PAGE 4096
#define HUGE (2ul << 20)

enum { BLOCKS = 3, SECOND = 54321, THIRD = PAGE + 7 };

/* The KiB in huge pages of the mapping that begins there, which must have no advice. */
static long huge_kib(const void *start)
{
	char head[32], *smaps = test_read_file("/proc/self/smaps", NULL), *at, *flags;
	long kib = -1;

	snprintf(head, sizeof(head), "%lx-", (unsigned long)start);
	at = strstr(smaps, head);
	CHECK(at, "no mapping begins at %p", start);
	flags = strstr(at, "VmFlags:");
	CHECK(flags && sscanf(strstr(at, "AnonHugePages:"), "AnonHugePages: %ld", &kib) == 1, "bad smaps: %s",
	      at);
	*strchr(flags, '\n') = 0;
	CHECK(!strstr(flags, " hg") && !strstr(flags, " nh"), "there is advice: %s", flags);
	free(smaps);
	return kib;
}

int main(int argc, char **argv)
{
	unsigned char *memory, *zeroes = calloc(1, HUGE);
	long was, now, at;

	test_init(argc, argv);
	memory = SYS(mmap(NULL, (BLOCKS + 1) * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	memory += -(uintptr_t)memory % HUGE;
	SYS(mprotect(memory, BLOCKS * HUGE, PROT_READ | PROT_WRITE));
	/* The first is full, the second but for one byte zeroes, the third is not huge. */
	test_fill(memory, HUGE, 1);
	memory[HUGE + SECOND] = 7;
	memory[2 * HUGE + THIRD] = 9;
	if (madvise(memory, 2 * HUGE, MADV_COLLAPSE))
		skip("the kernel makes no huge pages of others");
	was = huge_kib(memory);
	CHECK(was == 2 * HUGE / 1024, "%ld KiB are huge from the start", was);
	test_daemon();
	test_waitsig();
	now = huge_kib(memory);
	CHECK(now == was, "%ld KiB are huge instead of %ld", now, was);
	at = test_differs(memory, HUGE, 1);
	CHECK(at < 0, "byte %ld of the first has changed", at);
	CHECK(memory[HUGE + SECOND] == 7 && memory[2 * HUGE + THIRD] == 9, "a byte is lost");
	memory[HUGE + SECOND] = memory[2 * HUGE + THIRD] = 0;
	CHECK(!memcmp(memory + HUGE, zeroes, HUGE) && !memcmp(memory + 2 * HUGE, zeroes, HUGE),
	      "zeroes are not");
	pass();
}
