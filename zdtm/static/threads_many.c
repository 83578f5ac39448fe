/*
 * title: of very many threads each has its own name, mask, thread-local value and registers
 * flavours: host ns userns
 * args: 1000
 * cflags: -pthread
 * timeout: 90
 */
#include "registers.h"
#include "signals.h"
#include "threads.h"

#include <linux/futex.h>
#include <sys/prctl.h>

static __thread uint32_t local;
static uint32_t ready, told, sum;

static void *thread(void *argument)
{
	uint32_t i = (uint32_t)(uintptr_t)argument;
	/* The number's bits, spread over what may be blocked; SIGTERM is. */
	const uint64_t mask = mask_bit(SIGTERM) | (uint64_t)i << SIGRTMIN;
	char name[16], now[16];
	struct held before, after;
	pid_t tid = gettid();
	long result;

	snprintf(name, sizeof(name), "thread %u", i);
	SYS(prctl(PR_SET_NAME, name));
	mask_set(mask);
	local = i;
	held_fill(&before, i);
	test_post(&ready);
	do {
		result = held_call(SYS_futex, (long)&told, FUTEX_WAIT, 0, &before, &after);
		held_check(&before, &after, name);
		CHECK(!result || result == -EAGAIN || result == -EINTR, "futex: %s", strerror((int)-result));
	} while (!__atomic_load_n(&told, __ATOMIC_SEQ_CST));
	SYS(prctl(PR_GET_NAME, now));
	CHECK(!strcmp(now, name), "%s is called %s", name, now);
	CHECK(mask_get() == mask, "%s blocks %#llx, not %#llx", name, (long long)mask_get(), (long long)mask);
	CHECK(local == i, "%s has the thread-local value %u", name, local);
	CHECK(gettid() == tid, "%s has become %d from %d", name, gettid(), tid);
	__atomic_add_fetch(&sum, i, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(int argc, char **argv)
{
	uint32_t i, count = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000;
	pthread_t *threads = calloc(count, sizeof(*threads));

	test_init(argc, argv);
	for (i = 0; i < count; i++)
		threads[i] = thread_start(thread, (void *)(uintptr_t)(i + 1));
	test_await(&ready, count);
	test_daemon();
	test_waitsig();
	test_post(&told);
	for (i = 0; i < count; i++)
		thread_join(threads[i]);
	CHECK(sum == count * (count + 1) / 2, "not every thread has come to its end");
	pass();
}
