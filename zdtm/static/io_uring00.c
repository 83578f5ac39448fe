/*
 * title: idle io_urings of all shapes come back: counters, unread completions, unsubmitted requests, mappings
 * flavours: host ns userns
 */
#include <errno.h>
#include <fcntl.h>

#include "uring.h"

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define COUNT (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind {
	unsigned entries, flags, completions, done, unread;
} kinds[] = {
	{8, 0, 0, 0, 0},
	{8, 0, 0, 21, 3},
	{1, 0, 0, 5, 2},
	{8, 0, 8, 21, 8},
	{4, 0, 64, 70, 60},
	{64, IORING_SETUP_SQE128, 0, 21, 3},
	{4, IORING_SETUP_SQE128, 0, 6, 3},
	{8, IORING_SETUP_CQE32, 0, 21, 10},
	{8, IORING_SETUP_CQE32, 0, 0, 0},
	{8, IORING_SETUP_NO_SQARRAY, 0, 35, 1},
	{8, IORING_SETUP_NO_SQARRAY, 0, 0, 0},
	{8, IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQE128 | IORING_SETUP_CQE32, 0, 21, 1},
	{8, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, 0, 40, 16},
	{8, IORING_SETUP_SINGLE_ISSUER, 0, 21, 5},
	{8, DEFER, 0, 21, 5},
	{32, DEFER | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_NO_SQARRAY, 0, 1000, 7},
};

static struct ring rings[COUNT];
static char text[] = "what a file has in it";

static void set_up(struct ring *r, const struct kind *k)
{
	ring_make(r, k->entries, k->flags, k->completions);
	if (k->done > k->unread)
		ring_nops(r, k->done - k->unread);
	for (unsigned i = 0; i < k->unread; i++) {
		struct io_uring_sqe *sqe = ring_put(r, i % 2 ? IORING_OP_NOP : IORING_OP_CLOSE, 1000 + i);

		sqe->fd = 777;
		ring_submit(r, 1, 1);
	}
}

static void wait_in(struct ring *r, int file, char *to)
{
	struct io_uring_sqe *sqe = ring_put(r, IORING_OP_READ, 5);

	sqe->fd = file;
	sqe->addr = (uintptr_t)to;
	sqe->len = sizeof(text);
	sqe->off = 0;
	/* prepared, and not yet in the ring */
	if (r->p.sq_entries > 1)
		((struct io_uring_sqe *)(r->sqes +
					 (size_t)(r->p.flags & IORING_SETUP_SQE128 ? 128 : 64) *
						 ((ring_get(r, r->p.sq_off.tail)) & (r->p.sq_entries - 1))))
			->user_data = 6;
}

int main(int argc, char **argv)
{
	static char was[COUNT][4096], to[sizeof(text)], *at[COUNT];
	int file;

	test_init(argc, argv);
	file = SYS(open("file", O_RDWR | O_CREAT, 0600));
	SYS(write(file, text, sizeof(text)));
	for (unsigned i = 0; i < COUNT; i++) {
		set_up(&rings[i], &kinds[i]);
		if (kinds[i].done)
			wait_in(&rings[i], file, to);
		SYS(mprotect(rings[i].sqes, rings[i].sqes_size, PROT_READ));
		SYS(madvise(rings[i].rings, rings[i].rings_size, i % 2 ? MADV_DONTFORK : MADV_NORMAL));
		at[i] = rings[i].rings;
		memcpy(was[i], rings[i].rings, 64);
		memcpy(was[i] + 64, rings[i].sqes, 512);
	}
	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < COUNT; i++) {
		struct ring *r = &rings[i];
		const struct kind *k = &kinds[i];
		unsigned more;

		test_msg("ring %u\n", i);
		CHECK(r->rings == at[i] && !memcmp(was[i], r->rings, 36), "ring %u: another header", i);
		CHECK(!memcmp(was[i] + 64, r->sqes, 256), "ring %u: other submissions", i);
		SYS(mprotect(r->sqes, r->sqes_size, PROT_READ | PROT_WRITE));
		CHECK(ring_unread(r) == k->unread, "ring %u: %u completions", i, ring_unread(r));
		memset(to, 0, sizeof(to));
		more = r->p.cq_entries - k->unread;
		/* one more than there is room for: what is unread is not written over */
		for (unsigned n = 0; n <= more; n++) {
			if (n || !k->done)
				ring_put(r, IORING_OP_NOP, 5);
			ring_submit(r, 1, 0);
		}
		CHECK(ring_unread(r) == r->p.cq_entries, "ring %u: %u completions", i, ring_unread(r));
		for (unsigned n = 0; n < k->unread; n++)
			ring_expect(r, 1000 + n, n % 2 ? 0 : -EBADF);
		for (unsigned n = 0; n <= more; n++) {
			if (n == more)
				ring_submit(r, 0, 1);
			ring_expect(r, 5, !n && k->done ? (int)sizeof(text) : 0);
		}
		CHECK(!k->done || !memcmp(to, text, sizeof(text)), "ring %u: another text", i);
		CHECK(!ring_unread(r), "ring %u: too many completions", i);
		ring_nops(r, 3 * r->p.cq_entries + 1);
	}
	pass();
}
