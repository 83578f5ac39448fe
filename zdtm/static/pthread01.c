/*
 * title: two threads and the leader have three strings and three signal masks
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

enum { THREADS = 2 };

static const char *const strings[THREADS + 1] = {"the first thread's", "that of the second", "leader"};
static __thread char text[32];
static uint64_t masks[THREADS + 1];
static uint32_t ready, told;

/* Bits of all of the word, different for each; SIGTERM only where it does not end the test. */
static void be(int i)
{
	uint64_t mask = (0x1111111111111111ULL << i) & ~(mask_bit(SIGKILL) | mask_bit(SIGSTOP));

	for (int sig = 32; sig < SIGRTMIN; sig++)
		mask &= ~mask_bit(sig);
	masks[i] = i < THREADS ? mask | mask_bit(SIGTERM) : mask & ~mask_bit(SIGTERM);
	mask_set(masks[i]);
	strcpy(text, strings[i]);
}

static void check(int i)
{
	CHECK(mask_get() == masks[i], "%s mask is %#llx, not %#llx", strings[i], (long long)mask_get(),
	      (long long)masks[i]);
	CHECK(!strcmp(text, strings[i]), "the string is '%s', not '%s'", text, strings[i]);
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;

	be(i);
	test_post(&ready);
	test_await(&told, 1);
	check(i);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	be(THREADS);
	for (intptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)i);
	test_await(&ready, THREADS);
	test_daemon();
	test_waitsig();
	check(THREADS);
	test_post(&told);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
