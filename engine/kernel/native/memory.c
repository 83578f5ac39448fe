/*
 * The page mover: which pages of a task hold data of its own (PAGEMAP_SCAN), and their way into the image.
 * Contents go through one buffer that stays in the CPU's cache; Python sees runs of pages, never a page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "native.h"

#define PAGE	       4096ul
#define BUFFER	       (256 * 1024ul)
#define BATCH	       512
#define PM_EXCLUSIVE   (1ull << 56) /* of /proc/PID/pagemap */
#define THREADS_MAX    8
#define ZD_KEPT	       4
#define PAGES_A_THREAD (16 * 256ul) /* 16 MiB that make one more thread worth it */

#ifndef PAGEMAP_SCAN
#define PAGE_IS_WPALLOWED (1 << 0)
#define PAGE_IS_WRITTEN	  (1 << 1)
#define PAGE_IS_FILE	  (1 << 2)
#define PAGE_IS_PRESENT	  (1 << 3)
#define PAGE_IS_SWAPPED	  (1 << 4)
#define PAGE_IS_PFNZERO	  (1 << 5)
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

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

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

static long add_run(struct zd_run *runs, long n, unsigned max, unsigned long start, unsigned long end,
		    unsigned flags)
{
	unsigned long pages = (end - start) / PAGE;

	if (n && runs[n - 1].flags == flags && runs[n - 1].start + runs[n - 1].pages * PAGE == start) {
		runs[n - 1].pages += pages;
		return n;
	}
	if ((unsigned long)n == max)
		return -ENOSPC;
	runs[n] = (struct zd_run){start, pages, flags};
	return n + 1;
}

/*
 * The pages of each range that hold data of the task's own: in memory or swapped out, neither the zero page
 * nor a file's unchanged page. A range with flags 1 is taken whole (the vdso). Returns the number of runs, in
 * the order of the ranges; runs that touch are one where the flags agree.
 *
 * Guard pages (MADV_GUARD_INSTALL), which look like swapped ones, go to `guards`, of which there is room for
 * as many; of a range with flags 4 they are all that is looked for. -ENOSPC when there is not room enough.
 */
long zd_scan_pages(int pagemap, const struct zd_range *ranges, unsigned count, struct zd_run *runs,
		   unsigned max, struct zd_run *guards, unsigned *nguards, struct zd_pages *stats)
{
	struct page_region found[BATCH];
	int64_t start = now_us();
	unsigned long guard = PAGE_IS_GUARD;
	long n = 0, g = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned long at = ranges[i].start;

		if (!(ranges[i].flags & 4))
			stats->scanned += (ranges[i].end - ranges[i].start) / PAGE;
		if (ranges[i].flags & 1) {
			n = add_run(runs, n, max, at, ranges[i].end, ranges[i].flags);
			if (n < 0)
				return n;
			continue;
		}
		while (at < ranges[i].end) {
			struct pm_scan_arg arg = {
				.size = sizeof(arg),
				.start = at,
				.end = ranges[i].end,
				.vec = (uintptr_t)found,
				.vec_len = BATCH,
				.category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
				.category_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO,
				.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
				.return_mask = PAGE_IS_PRESENT | guard,
			};
			int got = ioctl(pagemap, PAGEMAP_SCAN, &arg);

			if (got < 0 && errno == EINVAL && guard) {
				guard = 0; /* a kernel that does not tell them yet (before 6.15) */
				continue;
			}
			if (got < 0)
				return -errno;
			for (int j = 0; j < got; j++) {
				if (found[j].categories & PAGE_IS_GUARD) {
					g = add_run(guards, g, max, found[j].start, found[j].end, 0);
					if (g < 0)
						return g;
					continue;
				}
				if (ranges[i].flags & 4)
					continue;
				n = add_run(runs, n, max, found[j].start, found[j].end, ranges[i].flags);
				if (n < 0)
					return n;
			}
			at = arg.walk_end;
		}
	}
	*nguards = g;
	stats->scan_time += now_us() - start;
	return n;
}

static int write_all(int fd, const char *buf, unsigned long size, unsigned long offset)
{
	while (size) {
		long r = pwrite(fd, buf, size, offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ENOSPC;
		buf += r;
		offset += r;
		size -= r;
	}
	return 0;
}

/* Both lists of runs, in the order of their addresses, those of `kept` with that flag, into `out`. */
long zd_merge_runs(const struct zd_run *runs, unsigned count, const struct zd_run *kept, unsigned nkept,
		   struct zd_run *out)
{
	unsigned i = 0, j = 0;

	while (i < count || j < nkept)
		if (j == nkept || (i < count && runs[i].start < kept[j].start)) {
			out[i + j] = runs[i];
			i++;
		} else {
			out[i + j] = kept[j];
			out[i + j].flags |= ZD_KEPT;
			j++;
		}
	return i + j;
}

/* One thread's part of the copy: `pages` pages of the runs, from page number `first` on. */
struct share {
	pthread_t thread;
	const struct zd_run *runs;
	int pid, mem, pagemap, kept, out;
	unsigned long first, pages;
	long result;
};

/* Are all pages the task's alone? Of shared ones, process_vm_readv(2) would give the task copies of its own.
 */
static int is_exclusive(int pagemap, unsigned long addr, unsigned long size)
{
	uint64_t entries[BUFFER / PAGE], all = PM_EXCLUSIVE;
	long r = pread(pagemap, entries, size / PAGE * 8, addr / PAGE * 8);

	for (long i = 0; i < r / 8; i++)
		all &= entries[i];
	return r == (long)(size / PAGE * 8) && all;
}

/*
 * process_vm_readv(2) obeys the task's own page protections and ends what it shares since a fork;
 * /proc/PID/mem does neither, but copies twice.
 */
static long read_run(const struct share *s, unsigned long addr, char *buf, unsigned long size)
{
	unsigned long done = 0;
	int exclusive = is_exclusive(s->pagemap, addr, size);

	while (done < size) {
		long r = exclusive ? zd_read_memory(s->pid, addr + done, buf + done, size - done)
				   : pread(s->mem, buf + done, size - done, addr + done);

		if (r <= 0)
			r = pread(s->mem, buf + done, PAGE - ((addr + done) & (PAGE - 1)), addr + done);
		if (r <= 0)
			return r < 0 ? -errno : -EFAULT;
		done += r;
	}
	return 0;
}

static long read_kept(int fd, char *buf, unsigned long size, unsigned long offset)
{
	while (size) {
		long r = pread(fd, buf, size, offset);

		if (r <= 0)
			return r < 0 ? -errno : -EFAULT;
		buf += r;
		offset += r;
		size -= r;
	}
	return 0;
}

static void *copy_share(void *arg)
{
	struct share *s = arg;
	const struct zd_run *run = s->runs;
	unsigned long skip = s->first, left = s->pages * PAGE, offset = s->first * PAGE, filled = 0;
	unsigned long kept = 0; /* offset of the next run with flag ZD_KEPT in that file */
	char *buf =
		mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	long r = 0;

	if (buf == MAP_FAILED) {
		s->result = -errno;
		return NULL;
	}
	for (; left && skip >= run->pages; run++) {
		skip -= run->pages;
		kept += run->flags & ZD_KEPT ? run->pages * PAGE : 0;
	}
	if (left && run->flags & ZD_KEPT)
		kept += skip * PAGE;
	while (left && !r) {
		unsigned long at = run->start + skip * PAGE, part = (run->pages - skip) * PAGE;

		part = part < left ? part : left;
		part = part < BUFFER - filled ? part : BUFFER - filled;
		if (run->flags & ZD_KEPT) {
			r = read_kept(s->kept, buf + filled, part, kept);
			kept += part;
		} else {
			r = read_run(s, at, buf + filled, part);
		}
		filled += part;
		left -= part;
		skip += part / PAGE;
		if (skip == run->pages) {
			skip = 0;
			run++;
		}
		if (!r && (filled == BUFFER || !left)) {
			r = write_all(s->out, buf, filled, offset);
			offset += filled;
			filled = 0;
		}
	}
	munmap(buf, BUFFER);
	s->result = r;
	return NULL;
}

/*
 * Write the pages of all runs to the empty image, big ones by as many threads as there are processors: while
 * one reads from the task another writes. -EFAULT etc. from the task, -ENOSPC etc. from the image. Runs with
 * flag ZD_KEPT come from the file `kept`, where they lie one behind the other.
 */
long zd_dump_pages(int pid, int mem, int pagemap, int kept, int out, const struct zd_run *runs,
		   unsigned count, struct zd_pages *stats)
{
	struct share shares[THREADS_MAX];
	unsigned long total = 0, threads;
	long processors = sysconf(_SC_NPROCESSORS_ONLN), r = 0;
	int64_t start = now_us();

	for (unsigned i = 0; i < count; i++)
		total += runs[i].pages;
	threads = total / PAGES_A_THREAD;
	threads = threads > (unsigned long)processors ? (unsigned long)processors : threads;
	threads = threads > THREADS_MAX ? THREADS_MAX : threads ? threads : 1;
	for (unsigned long i = 0; i < threads; i++) {
		unsigned long first = total * i / threads;

		shares[i] = (struct share){.runs = runs,
					   .pid = pid,
					   .mem = mem,
					   .pagemap = pagemap,
					   .kept = kept,
					   .out = out,
					   .first = first,
					   .pages = total * (i + 1) / threads - first};
		/* the last share is this thread's; so is any for which there is no other */
		if (i == threads - 1 || pthread_create(&shares[i].thread, NULL, copy_share, &shares[i])) {
			shares[i].thread = pthread_self();
			copy_share(&shares[i]);
		}
	}
	for (unsigned long i = 0; i < threads; i++) {
		if (!pthread_equal(shares[i].thread, pthread_self()))
			pthread_join(shares[i].thread, NULL);
		r = r ? r : shares[i].result;
	}
	stats->written += total;
	stats->write_time += now_us() - start;
	return r;
}
