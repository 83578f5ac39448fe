/*
 * The page mover: the way of a task's pages into the image. Contents go through one buffer that stays in the
 * CPU's cache; Python sees runs of pages, never a page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runs.h"

#define BUFFER	       (256 * 1024ul)
#define PIECE	       (BUFFER / PAGE) /* pages that are moved at a time */
#define WINDOW	       512
#define PM_EXCLUSIVE   (1ull << 56) /* of /proc/PID/pagemap */
#define THREADS_MAX    8
#define PAGES_A_THREAD (16 * 256ul) /* 16 MiB that make one more thread worth it */

/* In a pipe everything is written where the last ended. */
static int is_pipe(int fd)
{
	return lseek(fd, 0, SEEK_CUR) < 0 && errno == ESPIPE;
}

static long write_all(int fd, struct iovec *v, unsigned count, unsigned long offset, int pipe)
{
	while (count) {
		long r = pipe ? writev(fd, v, count) : pwritev(fd, v, count, offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ENOSPC;
		offset += r;
		for (; count && (unsigned long)r >= v->iov_len; count--)
			r -= v++->iov_len;
		if (r) {
			v->iov_base = (char *)v->iov_base + r;
			v->iov_len -= r;
		}
	}
	return 0;
}

static long read_all(int fd, char *buf, unsigned long size, unsigned long offset)
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

/*
 * How many of the runs, from the first on, hold nothing but pages that are the task's alone. Of shared ones,
 * process_vm_readv(2), which pins them, would give the task copies of its own.
 */
static unsigned exclusive(int pagemap, const struct iovec *there, unsigned count)
{
	uint64_t entries[WINDOW], first = (uintptr_t)there->iov_base / PAGE;
	unsigned n = 0;
	long last = 0;

	while (n < count && (uintptr_t)there[n].iov_base / PAGE >= first &&
	       ((uintptr_t)there[n].iov_base + there[n].iov_len) / PAGE - first <= WINDOW) {
		last = ((uintptr_t)there[n].iov_base + there[n].iov_len) / PAGE - first;
		n++;
	}
	if (pread(pagemap, entries, last * 8, first * 8) != last * 8)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		unsigned long at = (uintptr_t)there[i].iov_base / PAGE - first,
			      pages = there[i].iov_len / PAGE;

		while (pages && entries[at + pages - 1] & PM_EXCLUSIVE)
			pages--;
		if (pages)
			return i;
	}
	return n;
}

/*
 * process_vm_readv(2) obeys the task's own page protections and ends what it shares since a fork;
 * /proc/PID/mem does neither, but copies twice. With pid 0 only that is used.
 */
static long read_task(int pid, int mem, int pagemap, struct iovec *there, unsigned count, char *buf)
{
	long r = 0;

	while (count && !r) {
		struct iovec here = {buf, BUFFER};
		unsigned own = pid ? exclusive(pagemap, there, count) : 0;
		long got = own ? process_vm_readv(pid, &here, 1, there, own, 0) : 0;
		unsigned long left = got > 0 ? got : 0;

		buf += left;
		for (; count && left >= there->iov_len; count--)
			left -= there++->iov_len;
		if (!count)
			break;
		there->iov_base = (char *)there->iov_base + left;
		there->iov_len -= left;
		if (got > 0 && !left)
			continue;
		left = own && there->iov_len > PAGE ? PAGE : there->iov_len;
		r = read_all(mem, buf, left, (unsigned long)there->iov_base);
		buf += left;
		there->iov_base = (char *)there->iov_base + left;
		there->iov_len -= left;
		if (!there->iov_len) {
			there++;
			count--;
		}
	}
	return r;
}

/* What the threads of a copy share. They take pieces in turn, and give them their place in the image in turn.
 */
struct mover {
	pthread_mutex_t lock;
	pthread_cond_t placed;
	int pid, mem, pagemap, out, kept, pipe;
	const struct zd_run *run, *end; /* the next piece begins there, */
	unsigned long skip, kept_at;	/* so many pages on; and there in `kept` */
	unsigned long taken, turn;	/* pieces */
	unsigned long offset, zero;
	struct list made;
	long error;
};

/* Up to PIECE pages: where they are in the task, and from where in `kept` those come that are there. */
struct piece {
	struct zd_run runs[PIECE];
	unsigned long kept[PIECE];
	unsigned long number;
	unsigned count;
};

static int take(struct mover *m, struct piece *p)
{
	unsigned long left = PIECE;

	pthread_mutex_lock(&m->lock);
	p->count = 0;
	p->number = m->taken;
	while (left && m->run < m->end && !m->error) {
		unsigned long pages = m->run->pages - m->skip;

		pages = pages < left ? pages : left;
		p->runs[p->count] = (struct zd_run){m->run->start + m->skip * PAGE, pages, m->run->flags};
		p->kept[p->count++] = m->kept_at;
		if (m->run->flags & ZD_KEPT)
			m->kept_at += pages * PAGE;
		left -= pages;
		m->skip += pages;
		if (m->skip == m->run->pages) {
			m->skip = 0;
			m->run++;
		}
	}
	if (p->count)
		m->taken++;
	pthread_mutex_unlock(&m->lock);
	return p->count;
}

static long read_piece(const struct mover *m, const struct piece *p, char *buf)
{
	struct iovec there[PIECE];
	unsigned long size;
	long r = 0;

	for (unsigned i = 0, n; i < p->count && !r; i += n ? n : 1, buf += size) {
		size = 0;
		for (n = 0; i + n < p->count && !(p->runs[i + n].flags & ZD_KEPT); n++) {
			there[n] = (struct iovec){(void *)p->runs[i + n].start, p->runs[i + n].pages * PAGE};
			size += there[n].iov_len;
		}
		if (n) {
			r = read_task(m->pid, m->mem, m->pagemap, there, n, buf);
		} else {
			size = p->runs[i].pages * PAGE;
			r = read_all(m->kept, buf, size, p->kept[i]);
		}
	}
	return r;
}

static int is_zero(const char *page)
{
	const uint64_t *word = (const uint64_t *)page;

	for (unsigned i = 0; i < PAGE / 8; i += 8)
		if (word[i] | word[i + 1] | word[i + 2] | word[i + 3] | word[i + 4] | word[i + 5] |
		    word[i + 6] | word[i + 7])
			return 0;
	return 1;
}

/* The pages of a piece that are stored: as runs, and as parts of the buffer. Returns how many are left out.
 */
static unsigned long choose(struct piece *p, char *buf, struct iovec *v, unsigned *parts)
{
	struct piece out = {.count = 0};
	unsigned long zero = 0;
	char *end = NULL;

	*parts = 0;
	for (unsigned i = 0; i < p->count; i++) {
		struct zd_run *r = p->runs + i;

		for (unsigned long j = 0, n; j < r->pages; j += n, buf += n * PAGE) {
			for (n = 0; r->flags & ZD_SPARSE && j + n < r->pages && is_zero(buf + n * PAGE);)
				n++;
			if (n) {
				zero += n;
				continue;
			}
			for (n = 1; j + n < r->pages && !(r->flags & ZD_SPARSE && is_zero(buf + n * PAGE));)
				n++;
			out.runs[out.count++] = (struct zd_run){r->start + j * PAGE, n, r->flags};
			if (end == buf)
				v[*parts - 1].iov_len += n * PAGE;
			else
				v[(*parts)++] = (struct iovec){buf, n * PAGE};
			end = buf + n * PAGE;
		}
	}
	memcpy(p->runs, out.runs, out.count * sizeof(out.runs[0]));
	p->count = out.count;
	return zero;
}

static void *move(void *arg)
{
	struct mover *m = arg;
	struct piece p;
	char *buf =
		mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (buf == MAP_FAILED) {
		pthread_mutex_lock(&m->lock);
		m->error = -errno;
		pthread_mutex_unlock(&m->lock);
		return NULL;
	}
	while (take(m, &p)) {
		long r = read_piece(m, &p, buf);
		struct iovec v[PIECE];
		unsigned long zero, at, size = 0;
		unsigned parts = 0;

		zero = r ? 0 : choose(&p, buf, v, &parts);
		pthread_mutex_lock(&m->lock);
		while (m->turn != p.number)
			pthread_cond_wait(&m->placed, &m->lock);
		m->turn++;
		at = m->offset;
		for (unsigned i = 0; i < p.count && !r; i++) {
			const struct zd_run *run = p.runs + i;

			r = add_pages(&m->made, run->start, run->pages, run->flags & ~(ZD_KEPT | ZD_SPARSE));
			size += run->pages * PAGE;
		}
		m->offset += size;
		m->zero += zero;
		m->error = m->error ? m->error : r;
		pthread_cond_broadcast(&m->placed);
		pthread_mutex_unlock(&m->lock);
		if (!r)
			r = write_all(m->out, v, parts, at, m->pipe);
		if (r) {
			pthread_mutex_lock(&m->lock);
			m->error = m->error ? m->error : r;
			pthread_mutex_unlock(&m->lock);
		}
	}
	munmap(buf, BUFFER);
	return NULL;
}

/*
 * Write the pages of all runs to the empty image, or into a pipe; big ones by as many threads as there are
 * processors: while one reads from the task another writes. Pages of runs with flag ZD_SPARSE are left out
 * where they are all zeroes; those of runs with flag ZD_KEPT come from the file `kept`, where they lie one
 * behind the other. Returns the number of runs in *made: what has been written. -EFAULT etc. from the task,
 * -ENOSPC etc. from the image.
 */
long zd_dump_pages(int pid, int mem, int pagemap, int kept, int out, const struct zd_run *runs,
		   unsigned long count, struct zd_run **made, struct zd_pages *stats)
{
	struct mover m = {.lock = PTHREAD_MUTEX_INITIALIZER,
			  .placed = PTHREAD_COND_INITIALIZER,
			  .pid = pid,
			  .mem = mem,
			  .pagemap = pagemap,
			  .out = out,
			  .kept = kept,
			  .pipe = is_pipe(out),
			  .run = runs,
			  .end = runs + count};
	pthread_t threads[THREADS_MAX];
	unsigned long total = 0, wanted, started = 0;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t start = now_us();

	for (unsigned long i = 0; i < count; i++)
		total += runs[i].pages;
	wanted = m.pipe ? 1 : total / PAGES_A_THREAD;
	wanted = wanted > (unsigned long)processors ? (unsigned long)processors : wanted;
	wanted = wanted > THREADS_MAX ? THREADS_MAX : wanted;
	while (started + 1 < wanted && !pthread_create(threads + started, NULL, move, &m))
		started++;
	move(&m); /* this thread does what the others leave, all of it if there are none */
	while (started)
		pthread_join(threads[--started], NULL);
	if (m.error) {
		free(m.made.runs);
		return m.error;
	}
	stats->written += m.offset / PAGE;
	stats->zero += m.zero;
	stats->write_time += now_us() - start;
	*made = m.made.runs;
	return m.made.count;
}
