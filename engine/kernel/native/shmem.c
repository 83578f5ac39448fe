/*
 * Objects of shared memory (shmem and hugetlbfs inodes): which pages exist, and their way into and out of
 * images. The object is asked, not the page tables of who maps it: what nobody has touched since is in no
 * table. Contents go through one buffer a thread that stays in the CPU's cache.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "native.h"

#define PAGE	       4096ul
#define BUFFER	       (64 * 1024ul)
#define THREADS_MAX    8
#define PAGES_A_THREAD (16 * 256ul) /* 16 MiB that make one more thread worth it */

static unsigned long round_up(unsigned long n, unsigned long to)
{
	return (n + to - 1) / to * to;
}

/*
 * Shared anonymous memory of `size` bytes that nobody maps, as a file open for reading and writing: of huge
 * pages of so many bytes, unless 0; `flags` are more of mmap(2). Only that makes an object that is called
 * /dev/zero, and only procfs gives a file of it.
 */
int zd_shmem_make(unsigned long size, unsigned long huge, int flags)
{
	unsigned long length = round_up(size ? size : 1, huge ? huge : PAGE);
	int fd, r = 0;
	char name[80];
	void *at = mmap(NULL, length, PROT_NONE, flags | MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	snprintf(name, sizeof(name), "/proc/self/map_files/%lx-%lx", (unsigned long)at,
		 (unsigned long)at + length);
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		r = -errno;
	munmap(at, length);
	if (!r && length != size && ftruncate(fd, size)) {
		r = -errno;
		close(fd);
	}
	return r ? r : fd;
}

static int transfer(bool in, int fd, char *buf, unsigned long size, unsigned long offset)
{
	while (size) {
		long r = in ? pread(fd, buf, size, offset) : pwrite(fd, buf, size, offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : in ? -ENODATA : -ENOSPC;
		buf += r;
		offset += r;
		size -= r;
	}
	return 0;
}

static bool is_zero(const char *buf, unsigned long size)
{
	return !*buf && !memcmp(buf, buf + 1, size - 1);
}

/* hugetlbfs has no SEEK_HOLE, and reads holes as zeroes: which pages have anything but zeroes in them. */
static long huge_runs(int fd, unsigned long size, unsigned long huge, struct zd_run *runs, unsigned max)
{
	enum { step = 64 * 1024 };
	char buf[step];
	long n = 0;

	for (unsigned long at = 0; at < size; at += huge) {
		bool zero = true;

		for (unsigned long in = 0; in < huge && zero; in += step) {
			int r = transfer(true, fd, buf, step, at + in);

			if (r)
				return r;
			zero = is_zero(buf, step);
		}
		if (zero)
			continue;
		if (n && runs[n - 1].start + runs[n - 1].pages * PAGE == at) {
			runs[n - 1].pages += huge / PAGE;
			continue;
		}
		if ((unsigned long)n == max)
			return -ENOSPC;
		runs[n++] = (struct zd_run){at, huge / PAGE, 0};
	}
	return n;
}

/*
 * The runs of pages that an object of `size` bytes has, in memory or swapped out; `start` is an offset in
 * bytes. `huge` is the size of its pages where it is of hugetlbfs, else 0. -ENOSPC when there are more than
 * `max`.
 */
long zd_object_runs(int fd, unsigned long size, unsigned long huge, struct zd_run *runs, unsigned max)
{
	long n = 0;

	if (huge)
		return huge_runs(fd, size, huge, runs, max);
	for (off_t at = 0; (unsigned long)at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);

		if (data < 0 && errno == ENXIO)
			break;
		at = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		if (at < 0)
			return -errno;
		if ((unsigned long)n == max)
			return -ENOSPC;
		runs[n++] = (struct zd_run){data, (round_up(at, PAGE) - data) / PAGE, 0};
	}
	return n;
}

/* One thread's part of the copy: `pages` pages of the runs, from page number `first` on. */
struct share {
	pthread_t thread;
	const struct zd_object *object;
	const struct zd_run *runs;
	unsigned long first, pages;
	bool load;
	int result;
};

struct piece {
	unsigned long at, size;
};

/* Pieces that lie one after the other in the image, from offset `image` on: in one call there, as small as
 * they are. */
static int copy_pieces(const struct share *s, char *buf, const struct piece *pieces, unsigned count,
		       unsigned long image)
{
	unsigned long size = 0, done = 0;
	int r = 0;

	for (unsigned i = 0; i < count; i++)
		size += pieces[i].size;
	if (s->load)
		r = transfer(true, s->object->image, buf, size, image);
	for (unsigned i = 0; i < count && !r; done += pieces[i++].size)
		r = transfer(!s->load, s->object->fd, buf + done, pieces[i].size, pieces[i].at);
	return r || s->load ? r : transfer(false, s->object->image, buf, size, image);
}

/*
 * Past the end of a file, but inside of its last page, only a mapping reaches; huge pages cannot be written
 * otherwise either. Not touched here: there may be no huge page for it, which is an error of read(2), but a
 * signal to us.
 */
static int copy_mapped(const struct share *s, struct piece piece, unsigned long image)
{
	const struct zd_object *o = s->object;
	unsigned long unit = o->huge ? o->huge : PAGE, begin = piece.at / unit * unit;
	unsigned long length = round_up(piece.at + piece.size, unit) - begin;
	int prot = s->load ? PROT_READ | PROT_WRITE : PROT_READ, r;
	char *map = mmap(NULL, length, prot, MAP_SHARED, o->fd, begin);

	if (map == MAP_FAILED)
		return -errno;
	r = transfer(s->load, o->image, map + (piece.at - begin), piece.size, image);
	munmap(map, length);
	return r;
}

static void *copy_share(void *arg)
{
	struct share *s = arg;
	const struct zd_object *o = s->object;
	const struct zd_run *run = s->runs;
	unsigned long skip = s->first, left = s->pages * PAGE, image = o->offset + s->first * PAGE,
		      filled = 0;
	struct piece pieces[BUFFER / PAGE];
	unsigned count = 0;
	char *buf =
		mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int r = 0;

	if (buf == MAP_FAILED) {
		s->result = -errno;
		return NULL;
	}
	while (skip >= run->pages && left)
		skip -= run++->pages;
	while (left && !r) {
		struct piece next = {run->start + skip * PAGE, (run->pages - skip) * PAGE};
		bool mapped;

		next.size = next.size < left ? next.size : left;
		next.size = next.size < BUFFER - filled ? next.size : BUFFER - filled;
		if (next.at + PAGE <= o->size && next.at + next.size > o->size) /* the last page on its own */
			next.size = o->size / PAGE * PAGE - next.at;
		mapped = next.at + next.size > o->size || (o->huge && s->load);
		if (!mapped) {
			pieces[count++] = next;
			filled += next.size;
		}
		left -= next.size;
		skip += next.size / PAGE;
		if (skip == run->pages) {
			skip = 0;
			run++;
		}
		if (count && (mapped || filled == BUFFER || !left)) {
			r = copy_pieces(s, buf, pieces, count, image);
			image += filled;
			filled = count = 0;
		}
		if (mapped && !r) {
			r = copy_mapped(s, next, image);
			image += next.size;
		}
	}
	munmap(buf, BUFFER);
	s->result = r;
	return NULL;
}

/*
 * Copy the pages of all runs from the object into the image, or with `load` the other way, big ones by as
 * many threads as there are processors. The runs' pages lie one after the other in the image.
 */
long zd_object_copy(const struct zd_object *object, const struct zd_run *runs, unsigned count, int load)
{
	struct share shares[THREADS_MAX];
	unsigned long total = 0, threads;
	long processors = sysconf(_SC_NPROCESSORS_ONLN), r = 0;

	for (unsigned i = 0; i < count; i++)
		total += runs[i].pages;
	threads = total / PAGES_A_THREAD;
	threads = threads > (unsigned long)processors ? (unsigned long)processors : threads;
	threads = threads > THREADS_MAX ? THREADS_MAX : threads ? threads : 1;
	for (unsigned long i = 0; i < threads; i++) {
		unsigned long first = total * i / threads;

		shares[i] = (struct share){.object = object,
					   .runs = runs,
					   .first = first,
					   .pages = total * (i + 1) / threads - first,
					   .load = load};
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
	return r;
}
