/* Mappings of a test, pages with contents of their own, and what smaps and pagemap say of them. */
#ifndef ZDTM_MEMORY_H
#define ZDTM_MEMORY_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "zdtm.h"

#define PAGE 4096UL
#define MIB  (1UL << 20)

enum { RW = PROT_READ | PROT_WRITE };

/* Readable and writable; flags: MAP_PRIVATE or MAP_SHARED, and more. */
static inline unsigned char *map_anonymous(size_t length, int flags)
{
	return SYS(mmap(NULL, length, RW, flags | MAP_ANONYMOUS, -1, 0));
}

/* Addresses with nobody near: a mapping that is put into it is never joined to another one. */
static inline unsigned char *map_nothing(size_t length)
{
	return SYS(mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/* Page `i` is filled with what depends on seed + i alone. */
static inline void pages_fill(void *memory, size_t count, uint32_t seed)
{
	for (size_t i = 0; i < count; i++)
		test_fill((unsigned char *)memory + i * PAGE, PAGE, seed + (uint32_t)i);
}

static inline bool page_is(const void *page, uint32_t seed)
{
	return test_differs(page, PAGE, seed) < 0;
}

static inline bool page_is_zero(const void *page)
{
	const unsigned char *bytes = page;

	return !bytes[0] && !memcmp(bytes, bytes + 1, PAGE - 1);
}

static inline void pages_check(const void *memory, size_t count, uint32_t seed, const char *what)
{
	for (size_t i = 0; i < count; i++) {
		long at = test_differs((const unsigned char *)memory + i * PAGE, PAGE, seed + (uint32_t)i);

		CHECK(at < 0, "%s: page %zu differs at offset %ld", what, i, at);
	}
}

static inline void zeros_check(const void *memory, size_t count, const char *what)
{
	for (size_t i = 0; i < count; i++)
		CHECK(page_is_zero((const unsigned char *)memory + i * PAGE), "%s: page %zu is not zero",
		      what, i);
}

/* A new file of so many pages, filled; returns a descriptor. */
static inline int file_make(const char *name, size_t pages, uint32_t seed)
{
	int fd = SYS(open(test_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
	unsigned char page[PAGE];

	for (size_t i = 0; i < pages; i++) {
		test_fill(page, PAGE, seed + (uint32_t)i);
		CHECK(write(fd, page, PAGE) == (ssize_t)PAGE, "write %s: %m", name);
	}
	return fd;
}

/* The file behind a mapping that begins here and has this length: proc_pid_map_files(5); takes a capability.
 */
static inline int map_files_open(const void *memory, size_t length, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)memory,
		 (long)memory + (long)length);
	return SYS(open(path, flags | O_CLOEXEC));
}

/*
 * What smaps says of [start, start + length): the sum of a number, in KiB, over all mappings that overlap.
 * With `text`, what stands there of the first of them. -1: nothing is mapped there.
 */
enum { SMAPS_LINE = 512 };

static inline long smaps(const void *start, size_t length, const char *key, char text[SMAPS_LINE])
{
	unsigned long from, to, first = (unsigned long)start, end = first + length;
	size_t key_length = strlen(key);
	FILE *file = fopen("/proc/self/smaps", "re");
	bool within = false;
	char line[SMAPS_LINE];
	long sum = -1;

	CHECK(file, "smaps: %m");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			within = from < end && to > first;
		} else if (within && !strncmp(line, key, key_length) && line[key_length] == ':') {
			if (sum < 0 && text)
				strcpy(text, line + key_length + 1);
			sum = (sum < 0 ? 0 : sum) + strtol(line + key_length + 1, NULL, 10);
		}
	}
	fclose(file);
	return sum;
}

static inline long smaps_kib(const void *start, size_t length, const char *key)
{
	return smaps(start, length, key, NULL);
}

/* Whether the mapping at an address has one of the two-letter flags of proc_pid_smaps(5). */
static inline bool has_flag(const void *address, const char *flag)
{
	char flags[SMAPS_LINE], wanted[8];

	CHECK(smaps(address, 1, "VmFlags", flags) >= 0, "nothing is mapped at %p", address);
	snprintf(wanted, sizeof(wanted), " %s ", flag);
	return strstr(flags, wanted);
}

/* Entries of /proc/self/pagemap: proc_pid_pagemap(5). */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE	(1ULL << 61)
#define PAGEMAP_FRAME	((1ULL << 55) - 1)

static inline void pagemap(const void *memory, size_t count, uint64_t *entries)
{
	int fd = SYS(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	size_t size = count * sizeof(*entries);
	off_t at = (off_t)((unsigned long)memory / PAGE * sizeof(*entries));

	CHECK(pread(fd, entries, size, at) == (ssize_t)size, "pagemap: %m");
	SYS(close(fd));
}

/* How many pages are there: in memory (the zero page too) or swapped. */
static inline size_t pages_there(const void *memory, size_t count)
{
	uint64_t entries[512];
	size_t there = 0;

	for (size_t i = 0, n; i < count; i += n) {
		n = count - i < 512 ? count - i : 512;
		pagemap((const unsigned char *)memory + i * PAGE, n, entries);
		for (size_t k = 0; k < n; k++)
			there += (entries[k] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0;
	}
	return there;
}

#endif
