/*
 * title: three threads keep the filter that each has for itself; the leader has none
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 * cflags: -pthread
 */
#include "filter.h"
#include "threads.h"

enum { THREADS = 3 };

static const int calls[THREADS] = {SYS_getppid, SYS_getpgrp, SYS_getuid};
static const int errors[THREADS] = {ENOTTY, ENOSPC, EXDEV};
static uint32_t ready, go;

/* Who may do what: thread number `self` is denied its own call only; -1 is denied none. */
static void check(int self)
{
	for (int i = 0; i < THREADS; i++)
		filter_expect(calls[i], i == self ? errors[i] : 0);
}

static void *run(void *argument)
{
	int self = (int)(long)argument;

	filter_add(calls[self], FILTER_ERRNO(errors[self]), 0);
	test_post(&ready);
	test_await(&go, 1);
	filter_expect_mode(SECCOMP_MODE_FILTER, 1);
	check(self);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	test_init(argc, argv);
	for (long i = 0; i < THREADS; i++)
		threads[i] = thread_start(run, (void *)i);
	test_await(&ready, THREADS);
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	check(-1);
	test_post(&go);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
