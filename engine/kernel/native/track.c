/*
 * Which pages a task has changed: soft-dirty bits, or asynchronous write-protection by a userfaultfd of its
 * memory, in which a write costs a fault and nobody is told (PAGEMAP_SCAN and userfaultfd in the kernel's
 * admin-guide/mm).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#define PAGE  4096ul
#define BATCH 512

/* flags of a range: engine/kernel/memory.py */
#define WHOLE  1u
#define SHARED (1u << 8)

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef PAGEMAP_SCAN
#define PAGE_IS_WPALLOWED   (1 << 0)
#define PAGE_IS_WRITTEN	    (1 << 1)
#define PAGE_IS_FILE	    (1 << 2)
#define PAGE_IS_PRESENT	    (1 << 3)
#define PAGE_IS_SWAPPED	    (1 << 4)
#define PAGE_IS_PFNZERO	    (1 << 5)
#define PAGE_IS_SOFT_DIRTY  (1 << 7)
#define PM_SCAN_WP_MATCHING (1 << 0)
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

int zd_pidfd_getfd(int pidfd, int fd)
{
	long r = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return r < 0 ? -errno : r;
}

int zd_uffd_async(int uffd)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
					     UFFD_FEATURE_WP_HUGETLBFS_SHMEM};

	return ioctl(uffd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

static int write_protect(int uffd, const struct uffdio_range *range, unsigned mode)
{
	struct uffdio_writeprotect arg = {.range = *range, .mode = mode};
	int r;

	do
		r = ioctl(uffd, UFFDIO_WRITEPROTECT, &arg) < 0 ? -errno : 0;
	while (r == -EAGAIN);
	return r;
}

/*
 * One part of a range that is not registered. 1 if it is now, 0 if it cannot be, or is gone meanwhile.
 * Only protecting says ESRCH of an address space that is gone; registering says ENOMEM.
 */
static int enrol_part(int uffd, const struct page_region *part)
{
	struct uffdio_range range = {part->start, part->end - part->start};
	struct uffdio_register reg = {.range = range, .mode = UFFDIO_REGISTER_MODE_WP};
	int r;

	if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0 && errno != EPERM && errno != EINVAL && errno != ENOMEM)
		return -errno;
	/* Kernels before 6.13 leave pages that mremap(2) has moved here protected, which nobody sees until
	 * now. */
	r = write_protect(uffd, &range, 0);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Register what is not: mappings that are new since the last time. 0 if the range cannot be tracked. */
static int enrol(int pagemap, int uffd, unsigned long start, unsigned long end)
{
	struct page_region found[BATCH];

	while (start < end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = end,
			.vec = (uintptr_t)found,
			.vec_len = BATCH,
			.category_inverted = PAGE_IS_WPALLOWED,
			.category_mask = PAGE_IS_WPALLOWED,
			.return_mask = PAGE_IS_WPALLOWED,
		};
		int got = ioctl(pagemap, PAGEMAP_SCAN, &arg);

		if (got < 0)
			return -errno;
		for (int i = 0; i < got; i++) {
			int r = enrol_part(uffd, &found[i]);

			if (r <= 0)
				return r;
		}
		start = arg.walk_end;
	}
	return 1;
}

static long add_run(struct zd_run *runs, long n, unsigned long start, unsigned long end, unsigned flags)
{
	unsigned long pages = (end - start) / PAGE;

	if (n && runs[n - 1].flags == flags && runs[n - 1].start + runs[n - 1].pages * PAGE == start) {
		runs[n - 1].pages += pages;
		return n;
	}
	runs[n] = (struct zd_run){start, pages, flags};
	return n + 1;
}

/*
 * Add to the n runs the pages of the ranges, from the cursor on, that hold data (see zd_scan_pages) and have
 * changed: since they were protected, or without ever having been. With `protect`, what is found is protected
 * in the same step, page by page: no write is missed. Soft-dirty bits (uffd < 0) are cleared elsewhere. Stops
 * when there may be no more room; the cursor is at `count` when all is done.
 */
long zd_scan_changed(int pagemap, int uffd, int protect, const struct zd_range *ranges, unsigned count,
		     struct zd_run *runs, unsigned n, unsigned max, struct zd_cursor *cursor)
{
	struct page_region found[BATCH];
	unsigned long guard = PAGE_IS_GUARD, written = uffd < 0 ? PAGE_IS_SOFT_DIRTY : PAGE_IS_WRITTEN;

	for (; cursor->range < count; cursor->range++, cursor->at = 0) {
		const struct zd_range *range = &ranges[cursor->range];
		int tracked = 0;

		if (max - n < BATCH)
			return n;
		if (range->flags & WHOLE) {
			n = add_run(runs, n, range->start, range->end, range->flags);
			continue;
		}
		if (protect && uffd >= 0) {
			tracked = enrol(pagemap, uffd, range->start, range->end);
			if (tracked < 0)
				return tracked;
		}
		if (!cursor->at)
			cursor->at = range->start;
		while (cursor->at < range->end) {
			unsigned long not = PAGE_IS_PFNZERO | guard;
			struct pm_scan_arg arg = {
				.size = sizeof(arg),
				.flags = tracked ? PM_SCAN_WP_MATCHING : 0,
				.start = cursor->at,
				.end = range->end,
				.vec = (uintptr_t)found,
				.vec_len = BATCH,
				.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
				.return_mask = written | PAGE_IS_WPALLOWED,
			};
			int got;

			if (max - n < BATCH)
				return n;
			if (!(range->flags & SHARED))
				not |= PAGE_IS_FILE;
			arg.category_inverted = not;
			arg.category_mask = not | (tracked ? written : 0);
			got = ioctl(pagemap, PAGEMAP_SCAN, &arg);
			if (got < 0 && errno == EINVAL && guard) {
				guard = 0; /* a kernel that does not tell them */
				continue;
			}
			if (got < 0)
				return -errno;
			for (int i = 0; i < got; i++) {
				/* a mapping that is not registered is newer than the protection */
				unsigned long untold = uffd < 0 ? 0
								: ~found[i].categories & PAGE_IS_WPALLOWED;

				if (found[i].categories & written || untold)
					n = add_run(runs, n, found[i].start, found[i].end, range->flags);
			}
			cursor->at = arg.walk_end;
		}
	}
	return n;
}
