/*
 * title: very many threads, each of them busy with starting the next and ending
 * flavours: host ns userns
 * flags: noauto
 * args: 1024
 * cflags: -pthread
 * timeout: 120
 * ignore: threads
 */
#include "../static/threads.h"

static uint32_t go, over, generations;

/* Each ends only when the one that it has come from has, and is waited for by the next. */
static void *spark(void *argument)
{
	const struct sched_param none = {0};
	pthread_t before = (pthread_t)argument;

	if (!before) {
		/* Inherited by all that follow: the leader, the harness and the engine are to get on beside
		 * them. */
		SYS(sched_setscheduler(0, SCHED_IDLE, &none));
		test_await(&go, 1);
	} else {
		thread_join(before);
	}
	__atomic_add_fetch(&generations, 1, __ATOMIC_SEQ_CST);
	if (test_go()) {
		thread_start(spark, (void *)pthread_self());
	} else {
		PTHREAD(pthread_detach(pthread_self()));
		test_post(&over);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint32_t i, chains = argc > 1 ? (uint32_t)atoi(argv[1]) : 1024;

	test_init(argc, argv);
	for (i = 0; i < chains; i++)
		thread_start(spark, NULL);
	test_post(&go);
	test_daemon();
	test_waitsig();
	test_await(&over, chains);
	CHECK(generations >= chains, "%u chains, but %u threads", chains, generations);
	test_msg("%u threads in %u chains\n", generations, chains);
	pass();
}
