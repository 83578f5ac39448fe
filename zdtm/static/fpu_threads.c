/*
 * title: eight threads, asleep and spinning, each with other x87, SSE and AVX state
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx
 * cflags: -pthread
 */
#include "hold.h"

#include <pthread.h>

enum { THREADS = 8, SPINNERS = 2 };

static struct {
	pthread_t thread;
	struct held before, after;
	int how;
} all[THREADS];
static uint32_t word, running;

static void *run(void *argument)
{
	long n = (long)argument;

	test_post(&running);
	hold(&all[n].before, &all[n].after, &word, all[n].how);
	return NULL;
}

/* Every rounding mode, every depth of the stack, and contents that are like no other thread's. */
static void prepare(int n)
{
	struct held *held = &all[n].before;

	held_init(held);
	held->fx.control = (uint16_t)(0x037f | (n & 3) << 10);
	held->fx.status = (uint16_t)(n << 11 | (n & 1) << 8); /* the top of the stack, a condition */
	held->fx.tags = (uint8_t)(0xff << n);
	held->fx.mxcsr = 0x1f80u | (uint32_t)(3 - (n & 3)) << 13 | (uint32_t)(n & 1) << 15;
	test_fill(held->fx.st, sizeof(held->fx.st), 100 + n);
	test_fill(held->fx.xmm, sizeof(held->fx.xmm), 200 + n);
	test_fill(held->high, sizeof(held->high), 300 + n);
	all[n].how = HOLD_AVX | (n < SPINNERS ? HOLD_SPINNING : HOLD_ASLEEP);
}

int main(int argc, char **argv)
{
	const char *what;

	test_init(argc, argv);
	for (long n = 0; n < THREADS; n++) {
		prepare((int)n);
		errno = pthread_create(&all[n].thread, NULL, run, (void *)n);
		CHECK(!errno, "pthread_create: %s", strerror(errno));
	}
	test_await(&running, THREADS);
	test_daemon();
	test_waitsig();
	test_post(&word);
	for (int n = 0; n < THREADS; n++)
		pthread_join(all[n].thread, NULL);
	for (int n = 0; n < THREADS; n++) {
		what = held_differs(&all[n].before, &all[n].after, all[n].how);
		CHECK(!what, "thread %d: %s is not what it was", n, what);
	}
	pass();
}
