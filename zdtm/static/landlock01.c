/*
 * title: Landlock restricts one thread only: the process is not dumped, and goes on so
 * flavours: host ns userns
 * flags: suid crfail
 * cflags: -pthread
 */
#include "landlock.h"
#include "threads.h"

static uint32_t ready, go;

static void *run(void *argument)
{
	(void)argument;
	landlock_restrict();
	test_post(&ready);
	test_await(&go, 1);
	landlock_check("thread", true);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	test_init(argc, argv);
	thread = thread_start(run, NULL);
	test_await(&ready, 1);
	test_daemon();
	test_waitsig();
	landlock_check("leader", false);
	test_post(&go);
	thread_join(thread);
	pass();
}
