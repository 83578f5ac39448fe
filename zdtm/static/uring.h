/* io_uring(7) by its system calls. */
#ifndef URING_H
#define URING_H

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
#define RING_REGISTERED (1U << 4) /* IORING_ENTER_REGISTERED_RING */

struct ring {
	struct io_uring_params p;
	int fd, slot; /* where the thread has it registered, and one more */
	char *rings, *sqes;
	size_t rings_size, sqes_size;
};

static inline uint32_t *ring_word(struct ring *r, unsigned offset)
{
	return (uint32_t *)(r->rings + offset);
}

static inline uint32_t ring_get(struct ring *r, unsigned offset)
{
	return __atomic_load_n(ring_word(r, offset), __ATOMIC_ACQUIRE);
}

static inline void ring_make(struct ring *r, unsigned entries, unsigned flags, unsigned completions)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | (completions ? IORING_SETUP_CQSIZE : 0);
	r->p.cq_entries = completions;
	r->p.sq_thread_idle = flags & IORING_SETUP_SQPOLL ? 1 : 0; /* ms */
	r->fd = (int)SYS(syscall(SYS_io_uring_setup, entries, &r->p));
	r->rings_size = r->p.cq_off.cqes + r->p.cq_entries * (flags & IORING_SETUP_CQE32 ? 32 : 16);
	if (r->p.sq_off.array)
		r->rings_size = r->p.sq_off.array + r->p.sq_entries * 4;
	r->sqes_size = (size_t)r->p.sq_entries * (flags & IORING_SETUP_SQE128 ? 128 : 64);
	r->rings =
		SYS(mmap(NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING));
	r->sqes = SYS(mmap(NULL, r->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES));
}

/* A request that is in the ring, and not submitted yet. */
static inline struct io_uring_sqe *ring_put(struct ring *r, uint8_t code, uint64_t data)
{
	uint32_t tail = ring_get(r, r->p.sq_off.tail), at = tail & (r->p.sq_entries - 1);
	size_t size = r->p.flags & IORING_SETUP_SQE128 ? 128 : 64;
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)(r->sqes + at * size);

	memset(sqe, 0, size);
	sqe->opcode = code;
	sqe->user_data = data;
	if (r->p.sq_off.array)
		ring_word(r, r->p.sq_off.array)[at] = at;
	__atomic_store_n(ring_word(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return sqe;
}

static inline void ring_submit(struct ring *r, unsigned count, unsigned wait)
{
	unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP;
	long done;

	if (r->slot)
		done = SYS(syscall(SYS_io_uring_enter, r->slot - 1, count, wait, flags | RING_REGISTERED,
				   NULL, 0));
	else
		done = SYS(syscall(SYS_io_uring_enter, r->fd, count, wait, flags, NULL, 0));

	CHECK(done == (long)count, "%ld requests of %u were submitted", done, count);
}

static inline unsigned ring_unread(struct ring *r)
{
	return ring_get(r, r->p.cq_off.tail) - ring_get(r, r->p.cq_off.head);
}

/* From now on this thread submits by a number of its own. */
static inline void ring_register(struct ring *r, int slot)
{
	struct {
		uint32_t slot, zero;
		uint64_t fd;
	} which = {(uint32_t)slot, 0, (uint32_t)r->fd};

	SYS(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_RING_FDS, &which, 1));
	r->slot = slot + 1;
}

struct completion {
	uint64_t data;
	int32_t result;
};

/* The oldest completion, which is read then. */
static inline struct completion ring_take(struct ring *r)
{
	uint32_t head = ring_get(r, r->p.cq_off.head), at = head & (r->p.cq_entries - 1);
	size_t size = r->p.flags & IORING_SETUP_CQE32 ? 32 : 16;
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)(r->rings + r->p.cq_off.cqes + at * size);
	struct completion taken;

	CHECK(ring_unread(r), "no completion");
	taken = (struct completion){cqe->user_data, cqe->res};
	__atomic_store_n(ring_word(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return taken;
}

static inline void ring_expect(struct ring *r, unsigned data, int result)
{
	struct completion got = ring_take(r);

	CHECK(got.data == data, "completion of %llu instead of %u", (unsigned long long)got.data, data);
	CHECK(got.result == result, "request %u: %d instead of %d", data, got.result, result);
}

/* `count` no-ops, submitted and read. */
static inline void ring_nops(struct ring *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ring_put(r, IORING_OP_NOP, i);
		ring_submit(r, 1, 1);
		ring_expect(r, i, 0);
	}
}

#endif
