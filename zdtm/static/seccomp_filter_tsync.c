/*
 * title: a filter that all threads had in common still is one: a later one can be spread to all of them
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 * cflags: -pthread
 */
#include "filter.h"
#include "threads.h"

static uint32_t ready, go;

static void *run(void *argument)
{
	(void)argument;
	test_post(&ready);
	test_await(&go, 1);
	filter_expect_mode(SECCOMP_MODE_FILTER, 2);
	filter_expect(SYS_getppid, ENOTTY);
	filter_expect(SYS_getuid, ENOSPC);
	filter_expect(SYS_getpgrp, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	test_init(argc, argv);
	filter_add(SYS_getppid, FILTER_ERRNO(ENOTTY), 0);
	thread = thread_start(run, NULL);
	test_await(&ready, 1);
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_FILTER, 1);
	filter_add(SYS_getuid, FILTER_ERRNO(ENOSPC), SECCOMP_FILTER_FLAG_TSYNC);
	test_post(&go);
	thread_join(thread);
	pass();
}
