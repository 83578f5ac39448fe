/*
 * Pages that relatives share since a fork: by their frames in a frozen tree, by their content in images that
 * do not tell.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

#define PAGE	     4096ul
#define PIECE	     (256 * 1024ul)
#define BATCH	     2048
#define FRAMES_FIRST (1u << 12)
#define FRAMES_MAX   (1u << 21) /* entries, 24 bytes each */

/* /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst) */
#define PM_PRESENT   (1ull << 63)
#define PM_SWAP	     (1ull << 62)
#define PM_EXCLUSIVE (1ull << 56)
#define PM_FRAME     ((1ull << 55) - 1)

struct frame {
	uint64_t frame; /* and PM_SWAP, where that says which place in which swap */
	uint64_t address;
	uint64_t owner;
};

struct zd_frames {
	struct frame *table;
	unsigned size, used;
};

struct zd_frames *zd_frames_new(void)
{
	struct zd_frames *f = calloc(1, sizeof(*f));

	if (f) {
		f->size = FRAMES_FIRST;
		f->table = calloc(f->size, sizeof(*f->table));
		if (!f->table) {
			free(f);
			return NULL;
		}
	}
	return f;
}

void zd_frames_free(struct zd_frames *f)
{
	free(f->table);
	free(f);
}

static struct frame *find(struct frame *table, unsigned size, uint64_t frame, uint64_t address)
{
	uint64_t hash = (frame * 0x9e3779b97f4a7c15ull) ^ (address * 0xc2b2ae3d27d4eb4full);
	unsigned at = (unsigned)(hash >> 32) & (size - 1);

	while (table[at].owner && (table[at].frame != frame || table[at].address != address))
		at = (at + 1) & (size - 1);
	return &table[at];
}

static long grow(struct zd_frames *f)
{
	struct frame *table;

	if (f->size >= FRAMES_MAX)
		return -EOVERFLOW;
	table = calloc(f->size * 2ul, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (unsigned i = 0; i < f->size; i++)
		if (f->table[i].owner)
			*find(table, f->size * 2, f->table[i].frame, f->table[i].address) = f->table[i];
	free(f->table);
	f->table = table;
	f->size *= 2;
	return 0;
}

/* Whose the page was first, of those asked so far; `owner` for one that nobody else has at this address. */
static long owner_of(struct zd_frames *f, uint64_t entry, uint64_t address, uint64_t owner)
{
	struct frame *place;
	long r;

	if (!(entry & (PM_PRESENT | PM_SWAP)) || (entry & PM_EXCLUSIVE))
		return owner;
	if (!(entry & PM_FRAME))
		return -EPERM;
	place = find(f->table, f->size, entry & (PM_FRAME | PM_SWAP), address);
	if (place->owner)
		return place->owner;
	*place = (struct frame){entry & (PM_FRAME | PM_SWAP), address, owner};
	if (++f->used * 2 > f->size) {
		r = grow(f);
		if (r)
			return r;
	}
	return owner;
}

/*
 * Split the runs of a task's pages by who has them too: flags gets, from bit 32 on, the first of the owners
 * asked so far (positive numbers) that has the same frame at the same address. Asking again gives the same.
 * -ENOSPC: `max` is too small; -EOVERFLOW: too many pages to remember.
 */
long zd_frames_split(struct zd_frames *f, int pagemap, unsigned owner, const struct zd_run *runs,
		     unsigned count, struct zd_run *out, unsigned max)
{
	uint64_t entries[BATCH];
	long n = 0;

	for (unsigned i = 0; i < count; i++) {
		int starts = 1;

		for (unsigned long done = 0; done < runs[i].pages;) {
			unsigned long part = runs[i].pages - done, at = runs[i].start + done * PAGE;
			ssize_t got;

			part = part < BATCH ? part : BATCH;
			got = pread(pagemap, entries, part * 8, at / PAGE * 8);
			if (got != (ssize_t)(part * 8))
				return got < 0 ? -errno : -EFAULT;
			for (unsigned long j = 0; j < part; j++, at += PAGE) {
				long whose = owner_of(f, entries[j], at, owner);
				uint64_t flags;

				if (whose < 0)
					return whose;
				flags = runs[i].flags | (whose == owner ? 0 : (uint64_t)whose << 32);
				if (!starts && out[n - 1].flags == flags) {
					out[n - 1].pages++;
					continue;
				}
				if ((unsigned long)n == max)
					return -ENOSPC;
				out[n++] = (struct zd_run){at, 1, flags};
				starts = 0;
			}
			done += part;
		}
	}
	return n;
}

static int read_all(int fd, char *buf, unsigned long size, unsigned long offset)
{
	while (size) {
		long r = pread(fd, buf, size, offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ENODATA;
		buf += r;
		offset += r;
		size -= r;
	}
	return 0;
}

static long compare(const struct zd_part *a, const struct zd_part *b, unsigned long from, unsigned long to,
		    char *buf, struct zd_run *out, long n, unsigned max)
{
	while (from < to) {
		unsigned long size = to - from < PIECE ? to - from : PIECE;
		int r = read_all(a->fd, buf, size, a->offset + (from - a->start));

		if (!r)
			r = read_all(b->fd, buf + PIECE, size, b->offset + (from - b->start));
		if (r)
			return r;
		for (unsigned long at = 0; at < size; at += PAGE) {
			if (memcmp(buf + at, buf + PIECE + at, PAGE))
				continue;
			if (n && out[n - 1].start + out[n - 1].pages * PAGE == from + at) {
				out[n - 1].pages++;
				continue;
			}
			if ((unsigned long)n == max)
				return -ENOSPC;
			out[n++] = (struct zd_run){from + at, 1, 0};
		}
		from += size;
	}
	return n;
}

/*
 * Where two lists of stored pages, each in order of address, have the same content at the same address.
 * Returns the number of runs; -ENOSPC: `max` is too small; -ENODATA: an image is too short.
 */
long zd_same_pages(const struct zd_part *a, unsigned na, const struct zd_part *b, unsigned nb,
		   struct zd_run *out, unsigned max)
{
	char *buf = malloc(2 * PIECE);
	unsigned i = 0, j = 0;
	long n = buf ? 0 : -ENOMEM;

	while (i < na && j < nb && n >= 0) {
		unsigned long a_end = a[i].start + a[i].bytes, b_end = b[j].start + b[j].bytes;
		unsigned long from = a[i].start > b[j].start ? a[i].start : b[j].start;
		unsigned long to = a_end < b_end ? a_end : b_end;

		if (from < to)
			n = compare(&a[i], &b[j], from, to, buf, out, n, max);
		if (a_end <= b_end)
			i++;
		if (b_end <= a_end)
			j++;
	}
	free(buf);
	return n;
}
