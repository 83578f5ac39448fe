/*
 * title: threads with an io_uring each that nobody else may submit to, by numbers of their own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include <pthread.h>
#include <sys/uio.h>

#include "uring.h"

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

enum { THREADS = 3 };

static struct ring rings[THREADS], common, other;
static char memory[THREADS][4096];
static uint32_t ready, go, done;

static void *serve(void *argument)
{
	long n = (long)argument;
	struct ring *r = &rings[n];
	struct iovec buffer = {memory[n], 100};
	struct io_uring_sqe *sqe;

	ring_make(r, 8, n ? DEFER | IORING_SETUP_NO_SQARRAY : IORING_SETUP_SINGLE_ISSUER, 0);
	SYS(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, &buffer, 1));
	if (n)
		ring_register(r, n == 1 ? 0 : 9);
	ring_nops(r, 10 + 20 * (unsigned)n);
	ring_put(r, IORING_OP_NOP, 7);
	ring_submit(r, 1, 1);
	test_post(&ready);
	test_await(&go, 1);
	ring_expect(r, 7, 0);
	sqe = ring_put(r, IORING_OP_READ_FIXED, 8);
	sqe->fd = SYS(memfd_create("what is read", 0));
	SYS(write(sqe->fd, "read", 5));
	sqe->addr = (uintptr_t)memory[n] + 50;
	sqe->len = 50;
	ring_submit(r, 1, 1);
	ring_expect(r, 8, 5);
	CHECK(!strcmp(memory[n] + 50, "read"), "'%s' was read", memory[n] + 50);
	ring_nops(r, 40);
	test_post(&done);
	test_await(&go, 2);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	for (long i = 0; i < THREADS; i++)
		SYS(-!!pthread_create(&threads[i], NULL, serve, (void *)i));
	test_await(&ready, THREADS);
	ring_make(&other, 4, 0, 0);
	ring_register(&other, 5);
	ring_make(&common, 4, DEFER, 0);
	ring_register(&common, 2);
	ring_nops(&common, 5);
	test_daemon();
	test_waitsig();
	ring_nops(&common, 9);
	ring_nops(&other, 9);
	for (int i = 0; i < THREADS; i++) {
		ring_put(&rings[i], IORING_OP_NOP, 9);
		CHECK(syscall(SYS_io_uring_enter, rings[i].fd, 1, 0, 0, NULL, 0) == -1 && errno == EEXIST,
		      "ring %d takes what another thread submits", i);
		__atomic_sub_fetch(ring_word(&rings[i], rings[i].p.sq_off.tail), 1, __ATOMIC_RELEASE);
	}
	test_post(&go);
	test_await(&done, THREADS);
	test_post(&go);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pass();
}
