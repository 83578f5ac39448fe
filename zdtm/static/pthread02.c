/*
 * title: the leader has ended; the thread that goes on gets the signal
 * flavours: host ns userns
 * cflags: -pthread -Wl,--no-as-needed -lgcc_s
 */
#include "threads.h"

static void leader_state(char *state)
{
	char text[512], *end;

	thread_file(getpid(), "stat", text, sizeof(text));
	end = strrchr(text, ')');
	CHECK(end, "the leader is gone altogether");
	*state = end[2];
}

static void *survivor(void *argument)
{
	pid_t tid = gettid();
	char state;

	(void)argument;
	do {
		sched_yield();
		leader_state(&state);
	} while (state != 'Z');
	test_daemon();
	test_waitsig();
	leader_state(&state);
	CHECK(state == 'Z', "the leader's state is %c", state);
	CHECK(gettid() == tid && getpid() != tid, "the thread is %d of %d, it was %d", gettid(), getpid(),
	      tid);
	pass();
}

int main(int argc, char **argv)
{
	pthread_t thread;

	test_init(argc, argv);
	PTHREAD(pthread_create(&thread, NULL, survivor, NULL));
	pthread_exit(NULL);
}
