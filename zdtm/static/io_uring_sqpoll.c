/*
 * title: the kernel's own threads: an io_uring is polled again, by the same rights; a worker just waits
 * flavours: host ns userns
 * ignore: threads positions
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "uring.h"

static char text[] = "what a file has in it";

static void wait_for(struct ring *r, unsigned count)
{
	SYS(syscall(SYS_io_uring_enter, r->fd, 0, count, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP,
		    NULL, 0));
}

/* What the thread makes of a name that only root may open: by its own rights, not those of who submits. */
static int may_open(struct ring *r, const char *name)
{
	struct io_uring_sqe *sqe = ring_put(r, IORING_OP_OPENAT, 9);
	struct completion cqe;

	sqe->fd = AT_FDCWD;
	sqe->addr = (uintptr_t)name;
	sqe->open_flags = O_RDONLY;
	wait_for(r, 1);
	cqe = ring_take(r);
	if (cqe.result >= 0)
		close(cqe.result);
	return cqe.result;
}

int main(int argc, char **argv)
{
	static char to[sizeof(text)];
	struct io_uring_sqe *sqe;
	struct ring r, other;
	int file, was;

	test_init(argc, argv);
	file = SYS(open("file", O_RDWR | O_CREAT, 0600));
	SYS(write(file, text, sizeof(text)));
	ring_make(&r, 8, IORING_SETUP_SQPOLL, 0);
	for (unsigned i = 0; i < 21; i++) {
		ring_put(&r, IORING_OP_NOP, i);
		wait_for(&r, 1);
		ring_expect(&r, i, 0);
	}
	was = may_open(&r, "/proc/1/environ");
	ring_put(&r, IORING_OP_NOP, 50);
	wait_for(&r, 1);
	ring_make(&other, 8, 0, 0);
	sqe = ring_put(&other, IORING_OP_NOP, 60);
	sqe->flags = IOSQE_ASYNC;
	ring_submit(&other, 1, 1);
	while (!(ring_get(&r, r.p.sq_off.flags) & IORING_SQ_NEED_WAKEUP))
		sched_yield();
	/* the thread sleeps, and takes no notice until it is woken up */
	sqe = ring_put(&r, IORING_OP_READ, 51);
	sqe->fd = file;
	sqe->addr = (uintptr_t)to;
	sqe->len = sizeof(to);
	test_daemon();
	test_waitsig();
	ring_expect(&r, 50, 0);
	wait_for(&r, 1);
	ring_expect(&r, 51, sizeof(text));
	CHECK(!memcmp(to, text, sizeof(text)), "another text");
	CHECK(may_open(&r, "/proc/1/environ") == was, "the thread has other rights: %d before", was);
	ring_expect(&other, 60, 0);
	pass();
}
