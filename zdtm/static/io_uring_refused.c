/*
 * title: an io_uring is refused while a request is in flight; the request goes on
 * flavours: host
 * flags: crfail
 */
#include <poll.h>

#include "uring.h"

int main(int argc, char **argv)
{
	struct io_uring_sqe *sqe;
	struct ring r;
	int ends[2];

	test_init(argc, argv);
	SYS(pipe(ends));
	ring_make(&r, 4, 0, 0);
	ring_nops(&r, 5);
	sqe = ring_put(&r, IORING_OP_POLL_ADD, 1);
	sqe->fd = ends[0];
	sqe->poll32_events = POLLIN;
	ring_submit(&r, 1, 0);
	test_daemon();
	test_waitsig();
	CHECK(!ring_unread(&r), "the request has ended");
	SYS(write(ends[1], "", 1));
	ring_submit(&r, 0, 1);
	ring_expect(&r, 1, POLLIN);
	pass();
}
