/*
 * title: a thread with filters of its own upon the common ones can spread them to the others
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_filters
 * cflags: -pthread
 */
#include "filter.h"
#include "threads.h"

static uint32_t ready, synced;

static void check_all(void)
{
	filter_expect_mode(SECCOMP_MODE_FILTER, 4);
	filter_expect(SYS_getppid, ENOTTY);
	filter_expect(SYS_getpgrp, ENOSPC);
	filter_expect(SYS_getuid, EXDEV);
	filter_expect(SYS_getgid, EDOM);
}

static void *ahead(void *argument)
{
	uint32_t *go = argument;

	filter_add(SYS_getpgrp, FILTER_ERRNO(ENOSPC), 0);
	filter_add(SYS_getuid, FILTER_ERRNO(EXDEV), 0);
	test_post(&ready);
	test_await(go, 1);
	filter_expect_mode(SECCOMP_MODE_FILTER, 3);
	/* While the leader is as it was, and the other thread too. */
	filter_add(SYS_getgid, FILTER_ERRNO(EDOM), SECCOMP_FILTER_FLAG_TSYNC);
	check_all();
	test_post(&synced);
	return NULL;
}

static void *behind(void *argument)
{
	(void)argument;
	test_post(&ready);
	test_await(&synced, 1);
	check_all();
	return NULL;
}

int main(int argc, char **argv)
{
	static uint32_t go;
	pthread_t threads[2];

	test_init(argc, argv);
	filter_add(SYS_getppid, FILTER_ERRNO(ENOTTY), 0);
	threads[0] = thread_start(ahead, &go);
	threads[1] = thread_start(behind, NULL);
	test_await(&ready, 2);
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_FILTER, 1);
	filter_expect(SYS_getpgrp, 0);
	test_post(&go);
	for (int i = 0; i < 2; i++)
		thread_join(threads[i]);
	check_all();
	pass();
}
