/*
 * title: an io_uring at work: no request is lost, none is done twice
 * flavours: host ns userns
 * ignore: positions
 */
#include <fcntl.h>

#include "../static/uring.h"

enum { BATCH = 6 };

/* What the file has at an offset. */
static char content(unsigned offset)
{
	return (char)(offset * 7 + offset / 256);
}

int main(int argc, char **argv)
{
	char text[4096], got[BATCH];
	unsigned round = 0;
	struct ring r;
	int file;

	test_init(argc, argv);
	file = SYS(open("file", O_RDWR | O_CREAT, 0600));
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = content(i);
	SYS(write(file, text, sizeof(text)));
	ring_make(&r, 8, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0);
	test_daemon();
	for (; test_go(); round++) {
		memset(got, 0, sizeof(got));
		for (unsigned i = 0; i < BATCH; i++) {
			struct io_uring_sqe *sqe = ring_put(&r, IORING_OP_READ, round + i);

			sqe->fd = file;
			sqe->addr = (uintptr_t)&got[i];
			sqe->len = 1;
			sqe->off = (round + i) % sizeof(text);
		}
		ring_submit(&r, BATCH, BATCH);
		for (unsigned i = 0; i < BATCH; i++) {
			ring_expect(&r, round + i, 1);
			CHECK(got[i] == content((round + i) % sizeof(text)), "round %u: %d is %d", round, i,
			      got[i]);
		}
		CHECK(!ring_unread(&r), "round %u: more completions than requests", round);
	}
	CHECK(ring_get(&r, r.p.sq_off.head) == round * BATCH, "%u rounds, %u requests", round,
	      ring_get(&r, r.p.sq_off.head));
	pass();
}
