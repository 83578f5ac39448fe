/*
 * Pagemaps: between runs of pages and the entries of a pagemap image (images/proto/pagemap.proto), and from
 * runs to what the executor loads (OP_LOAD). Fragmented memory has hundreds of thousands of them.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "native.h"

#define PAGE	    4096ul
#define HUGE	    (2ul << 20)
#define PE_PARENT   (1 << 0)
#define PE_LAZY	    (1 << 1)
#define PE_PRESENT  (1 << 2)
#define HUGE_RUN    (1ul << 31)	   /* in the flags of a run from an image: field `huge`; */
#define FLAGS	    (HUGE_RUN - 1) /* below it are the entry's flags, */
#define OWNER	    32		   /* and from this bit on is the field `same_as` */
#define ENTRY_MAX   64		   /* bytes that an entry with its length may take */
#define SKIPPED	    1ul		   /* flag of an area: its pages are not loaded */
#define FILLED	    1u		   /* its `pad`: pages will be loaded into it */
#define SHARES	    8
#define LONG_FIELD  (1u << 21) /* bytes */
#define HUGE_OFFSET 1ul	       /* low bit of an offset: the executor is to have huge pages there */

/*
 * The entries of an image, each with its length before it, as fields 1 of one message. A length of four bytes
 * leaves just the room: for the tag, and for a number of three bytes, its zeroes before it and all. Is it
 * whole?
 */
int zd_fields(const void *data, unsigned long size, void *out)
{
	unsigned char *at = out, *end = at + size;
	uint32_t length;

	memcpy(out, data, size);
	while (end - at >= (long)sizeof(length)) {
		memcpy(&length, at, sizeof(length));
		if (length >= LONG_FIELD || length > (unsigned long)(end - at) - sizeof(length))
			return 0;
		at[0] = 1 << 3 | 2;
		at[1] = (length & 127) | 128;
		at[2] = (length >> 7 & 127) | 128;
		at[3] = length >> 14;
		at += sizeof(length) + length;
	}
	return at == end;
}

/* The other way round: bytes, at most twice as many; 0 if the message has anything but fields 1. */
unsigned long zd_entries(const void *data, unsigned long size, void *out)
{
	const unsigned char *at = data, *end = at + size;
	unsigned char *to = out;
	uint64_t length;

	while (at < end) {
		if (*at++ != (1 << 3 | 2))
			return 0;
		length = 0;
		for (unsigned shift = 0; at < end && shift < 32; shift += 7) {
			length |= (uint64_t)(*at & 127) << shift;
			if (*at++ < 128)
				break;
		}
		if (length > (uint64_t)(end - at))
			return 0;
		memcpy(to, &(uint32_t){length}, sizeof(uint32_t));
		memcpy(to + sizeof(uint32_t), at, length);
		to += sizeof(uint32_t) + length;
		at += length;
	}
	return to - (unsigned char *)out;
}

static unsigned char *put_varint(unsigned char *to, uint64_t value)
{
	for (; value > 127; value >>= 7)
		*to++ = value | 128;
	*to++ = value;
	return to;
}

/* Entries of as many runs as fit; *done is advanced by their number. Returns the bytes of `buf` that are
 * used. */
long zd_pagemap_encode(const struct zd_run *runs, unsigned long count, unsigned long *done, void *buf,
		       unsigned long size)
{
	unsigned char *to = buf, *end = to + size;

	for (; *done < count && end - to >= ENTRY_MAX; ++*done) {
		const struct zd_run *run = runs + *done;
		unsigned char *length = to;
		uint32_t bytes;

		to += sizeof(bytes);
		*to++ = 1 << 3;
		to = put_varint(to, run->start);
		*to++ = 2 << 3; /* nr_pages of old images */
		*to++ = 0;
		*to++ = 4 << 3;
		*to++ = run->flags & ZD_ELSEWHERE
				? PE_PARENT /* which other readers look for, and say that it is not there */
				: PE_PRESENT | (run->flags & ZD_LAZY ? PE_LAZY : 0);
		*to++ = 5 << 3;
		to = put_varint(to, run->pages);
		if (run->flags >> OWNER) {
			to = put_varint(to, 1000 << 3);
			to = put_varint(to, run->flags >> OWNER);
		}
		if (run->flags & ZD_HUGE) {
			to = put_varint(to, 1001 << 3);
			*to++ = 1;
		}
		bytes = to - length - sizeof(bytes);
		memcpy(length, &bytes, sizeof(bytes));
	}
	return to - (unsigned char *)buf;
}

static const unsigned char *get_varint(const unsigned char *at, const unsigned char *end, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
		if (shift == 63 && *at > 1)
			return NULL;
		*value |= (uint64_t)(*at & 127) << shift;
		if (!(*at++ & 128))
			return at;
	}
	return NULL;
}

/* One entry, if it is an ordinary one: known fields of proper size, none missing that is required. */
static int decode(const unsigned char *at, const unsigned char *end, struct zd_run *run)
{
	uint64_t field[6] = {0}, ours[2] = {0}, tag, value;
	unsigned seen = 0;

	while (at < end) {
		if (!(at = get_varint(at, end, &tag)) || !(at = get_varint(at, end, &value)))
			return 0;
		if (tag == 1000 << 3 || tag == 1001 << 3) {
			if (tag == 1000 << 3 && value > UINT32_MAX)
				return 0;
			ours[(tag >> 3) - 1000] = value;
			continue;
		}
		if (tag & 7 || tag >> 3 < 1 || tag >> 3 > 5)
			return 0;
		if ((tag >> 3 == 2 || tag >> 3 == 4) && value > UINT32_MAX)
			return 0;
		field[tag >> 3] = value;
		seen |= 1 << (tag >> 3);
	}
	if ((seen & 6) != 6)
		return 0;
	run->start = field[1];
	run->pages = seen & 1 << 5 ? field[5] : field[2];
	run->flags = seen & 1 << 4 ? field[4] & FLAGS : field[3] ? PE_PARENT : PE_PRESENT;
	run->flags |= (field[3] ? PE_PARENT : 0) | (ours[1] ? HUGE_RUN : 0) | ours[0] << OWNER;
	return 1;
}

/*
 * The entries from *pos on, up to the first that is not an ordinary one, the end, or `max`; *pos is advanced
 * to there. Returns how many runs they are. What is odd is for a slower reader, which can say what is wrong.
 */
long zd_pagemap_decode(const void *data, unsigned long size, unsigned long *pos, struct zd_run *runs,
		       unsigned long max)
{
	const unsigned char *bytes = data;
	unsigned long n = 0;

	while (n < max && size - *pos >= 4) {
		uint32_t length;

		memcpy(&length, bytes + *pos, sizeof(length));
		if (length > size - *pos - 4 ||
		    !decode(bytes + *pos + 4, bytes + *pos + 4 + length, runs + n))
			break;
		*pos += 4 + length;
		n++;
	}
	return n;
}

/* How many pages of the runs are in the pages image (no more than 2^63), and all of their flags. */
void zd_pagemap_sum(const struct zd_run *runs, unsigned long count, struct zd_sum *sum)
{
	for (unsigned long i = 0; i < count; i++) {
		sum->flags |= runs[i].flags;
		if (!(runs[i].flags & PE_PRESENT))
			continue;
		if (runs[i].pages > INT64_MAX - sum->stored)
			sum->stored = INT64_MAX;
		else
			sum->stored += runs[i].pages;
	}
}

/* The number of the page of the pages image that belongs to an address; -ENOENT where none does. */
long zd_pagemap_find(const struct zd_run *runs, unsigned long count, unsigned long addr)
{
	unsigned long number = 0;

	for (unsigned long i = 0; i < count; i++) {
		if (!(runs[i].flags & PE_PRESENT))
			continue;
		if (addr >= runs[i].start && (addr - runs[i].start) / PAGE < runs[i].pages)
			return number + (addr - runs[i].start) / PAGE;
		number += runs[i].pages;
	}
	return -ENOENT;
}

static struct zd_range *area_of(struct zd_range *areas, unsigned count, unsigned long addr)
{
	unsigned low = 0;

	while (count) {
		unsigned half = count / 2;

		if (areas[low + half].end <= addr) {
			low += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return areas + low;
}

struct loads {
	struct iovec *vector;
	unsigned long long *offsets;
	unsigned long count, max;
	unsigned long next; /* where the last part ends, in memory and in the image */
	unsigned long long next_offset;
};

/* Add a part, or as many as it has to be cut into; or make the last one longer. */
static int add_load(struct loads *l, struct zd_loads *info, unsigned long at, unsigned long size,
		    unsigned long long offset)
{
	while (size) {
		unsigned long part = size, end;
		int joins = l->count && at == l->next && offset == l->next_offset;

		if (info->shares < SHARES && info->bytes >= info->share * info->shares) {
			info->first[info->shares++] = l->count;
			joins = 0;
		}
		end = info->share * info->shares;
		if (info->shares < SHARES && part > end - info->bytes) {
			part = end - info->bytes;
			part += -(at + part) % HUGE; /* huge pages stay whole */
			part = part < size ? part : size;
		}
		if (!joins) {
			if (l->vector && l->count == l->max)
				return -ENOSPC;
			if (l->vector) {
				l->vector[l->count] = (struct iovec){(void *)at, 0};
				l->offsets[l->count] = offset;
			}
			l->count++;
		}
		if (l->vector)
			l->vector[l->count - 1].iov_len += part;
		info->bytes += part;
		at += part;
		offset += part;
		size -= part;
		l->next = at;
		l->next_offset = offset;
	}
	return 0;
}

/*
 * What the executor loads, in `vector` (of iovec) and `offsets` (in the pages image, the lowest bit says that
 * the pages were in huge ones); how many parts with `vector` NULL. They begin anew where the next share of
 * `loads->share` bytes does.
 */
long zd_split_loads(const struct zd_part *parts, unsigned long count, void *vector,
		    unsigned long long *offsets, unsigned long max, struct zd_loads *loads)
{
	struct loads l = {.vector = vector, .offsets = offsets, .max = max};

	loads->bytes = 0;
	loads->shares = 0;
	for (unsigned long i = 0; i < count; i++)
		if (add_load(&l, loads, parts[i].start, parts[i].bytes, parts[i].offset))
			return -ENOSPC;
	return l.count;
}

/*
 * The same, of all runs: areas are the mappings, by address. -EFAULT: page loads->bad lies in no area.
 */
long zd_plan_loads(const struct zd_run *runs, unsigned long count, struct zd_range *areas, unsigned nareas,
		   void *vector, unsigned long long *offsets, unsigned long max, struct zd_loads *loads)
{
	struct loads l = {.vector = vector, .offsets = offsets, .max = max};
	unsigned long long offset = 0;

	loads->bytes = 0;
	loads->shares = 0;
	for (unsigned long i = 0; i < count; i++) {
		unsigned long at = runs[i].start, pages = runs[i].pages;
		unsigned long huge = runs[i].flags & HUGE_RUN ? HUGE_OFFSET : 0;

		if (!(runs[i].flags & PE_PRESENT))
			continue;
		while (pages) {
			struct zd_range *area = area_of(areas, nareas, at);
			unsigned long size;

			if (area == areas + nareas || area->start > at || at % PAGE) {
				loads->bad = at;
				return -EFAULT;
			}
			size = area->end - at;
			size = size / PAGE < pages ? size : pages * PAGE;
			if (!(area->flags & SKIPPED)) {
				if (add_load(&l, loads, at, size, offset | huge))
					return -ENOSPC;
				area->pad = FILLED;
			}
			at += size;
			offset += size;
			pages -= size / PAGE;
		}
	}
	return l.count;
}
