/* Another task's memory: reading and writing it, and which pages hold data of its own (PAGEMAP_SCAN). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "runs.h"

#define BATCH 512

#ifndef PAGEMAP_SCAN
#define PAGE_IS_WPALLOWED (1 << 0)
#define PAGE_IS_WRITTEN	  (1 << 1)
#define PAGE_IS_FILE	  (1 << 2)
#define PAGE_IS_PRESENT	  (1 << 3)
#define PAGE_IS_SWAPPED	  (1 << 4)
#define PAGE_IS_PFNZERO	  (1 << 5)
#define PAGE_IS_HUGE	  (1 << 6)
struct page_region {
	uint64_t start, end, categories;
};
struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask,
		category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif
#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1 << 8)
#endif

long zd_read_memory(int pid, unsigned long addr, void *buf, unsigned long size)
{
	struct iovec here = {buf, size}, there = {(void *)addr, size};
	long r = process_vm_readv(pid, &here, 1, &there, 1, 0);

	return r < 0 ? -errno : r;
}

long zd_write_memory(int pid, unsigned long addr, const void *buf, unsigned long size)
{
	struct iovec here = {(void *)buf, size}, there = {(void *)addr, size};
	long r = process_vm_writev(pid, &here, 1, &there, 1, 0);

	return r < 0 ? -errno : r;
}

/* One range; *guard becomes 0 where the kernel does not tell guard pages. */
static long scan(int pagemap, const struct zd_range *range, struct list *l, struct list *guards,
		 unsigned long *guard)
{
	struct page_region found[BATCH];
	unsigned long at = range->start;
	long r = 0;

	while (at < range->end && !r) {
		unsigned long zero = range->flags & ZD_ZEROES ? 0 : PAGE_IS_PFNZERO;
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = at,
			.end = range->end,
			.vec = (uintptr_t)found,
			.vec_len = BATCH,
			.category_inverted = PAGE_IS_FILE | zero,
			.category_mask = PAGE_IS_FILE | zero,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_HUGE | *guard,
		};
		int got = ioctl(pagemap, PAGEMAP_SCAN, &arg);

		if (got < 0 && errno == EINVAL && *guard) {
			*guard = 0; /* a kernel that does not tell them yet (before 6.15) */
			continue;
		}
		if (got < 0)
			return -errno;
		for (int j = 0; j < got && !r; j++) {
			unsigned long pages = (found[j].end - found[j].start) / PAGE;
			unsigned long flags = range->flags & ~ZD_ZEROES;

			if (found[j].categories & PAGE_IS_HUGE && flags & ZD_SPARSE)
				flags |= ZD_HUGE; /* not those that are so by the mapping's kind */
			if (found[j].categories & PAGE_IS_GUARD)
				r = add_pages(guards, found[j].start, pages, 0);
			else if (!(flags & ZD_GUARDS))
				r = add_pages(l, found[j].start, pages, flags);
		}
		at = arg.walk_end;
	}
	return r;
}

/*
 * The pages of each range that hold data of the task's own: in memory or swapped out, neither the zero page
 * nor a file's unchanged page; the zero page too of a range with flag ZD_ZEROES. A range with flag ZD_WHOLE
 * is taken whole (the vdso). Returns the number of runs in *runs, in the order of the ranges; runs that touch
 * are one where the flags agree.
 *
 * Guard pages (MADV_GUARD_INSTALL), which look like swapped ones, go to *guards; of a range with flag
 * ZD_GUARDS they are all that is looked for.
 */
long zd_scan_pages(int pagemap, const struct zd_range *ranges, unsigned count, struct zd_run **runs,
		   struct zd_run **guards, unsigned long *nguards, struct zd_pages *stats)
{
	struct list l = {0}, g = {0};
	unsigned long guard = PAGE_IS_GUARD;
	int64_t start = now_us();
	long r = 0;

	for (unsigned i = 0; i < count && !r; i++) {
		unsigned long pages = (ranges[i].end - ranges[i].start) / PAGE;

		stats->scanned += ranges[i].flags & ZD_GUARDS ? 0 : pages;
		r = ranges[i].flags & ZD_WHOLE ? add_pages(&l, ranges[i].start, pages, ranges[i].flags)
					       : scan(pagemap, ranges + i, &l, &g, &guard);
	}
	if (r) {
		free(l.runs);
		free(g.runs);
		return r;
	}
	stats->scan_time += now_us() - start;
	*runs = l.runs;
	*guards = g.runs;
	*nguards = g.count;
	return l.count;
}
