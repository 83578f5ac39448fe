/*
 * title: of three threads the leader has ended with a status; two others go on, with a family of their own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

enum { STATUS = 7 };

static uint32_t ready, told;
static __thread int local;

/* The third field of stat, and the last one, in the form of wait(2). */
static char leader(int *status)
{
	char text[512], *end;

	thread_file(getpid(), "stat", text, sizeof(text));
	end = strrchr(text, ')');
	CHECK(end, "the leader is gone altogether");
	*status = atoi(strrchr(text, ' '));
	return end[2];
}

static void *born(void *argument)
{
	return argument;
}

static void check(int value, uint64_t mask)
{
	int status;
	char state = leader(&status);
	pid_t child;

	CHECK(state == 'Z' && status == STATUS << 8, "the leader's state is %c, its status %#x", state,
	      status);
	CHECK(local == value && mask_get() == mask, "the value is %d, not %d; blocked is %#llx", local, value,
	      (long long)mask_get());
	thread_join(thread_start(born, NULL));
	child = SYS(fork());
	if (!child)
		_exit(gettid() == getpid() ? 0 : 1);
	test_reap(child);
}

static void *other(void *argument)
{
	const uint64_t mask = mask_bit(SIGTERM) | mask_bit(SIGRTMIN + 3);

	(void)argument;
	mask_set(mask);
	local = 2;
	test_post(&ready);
	test_await(&told, 1);
	check(2, mask);
	return NULL;
}

static void *survivor(void *argument)
{
	const uint64_t mask = mask_bit(SIGRTMIN + 1);
	pid_t tid = gettid(), pid = getpid();
	pthread_t thread;
	int status;

	(void)argument;
	mask_set(mask);
	local = 1;
	thread = thread_start(other, NULL);
	test_await(&ready, 1);
	while (leader(&status) != 'Z')
		sched_yield();
	test_daemon();
	test_waitsig();
	CHECK(gettid() == tid && getpid() == pid && tid != pid, "it is %d of %d, was %d of %d", gettid(),
	      getpid(), tid, pid);
	check(1, mask);
	test_post(&told);
	thread_join(thread);
	pass();
}

int main(int argc, char **argv)
{
	pthread_t thread;

	test_init(argc, argv);
	PTHREAD(pthread_create(&thread, NULL, survivor, NULL));
	/* Not exit(): that is the end of all threads. */
	syscall(SYS_exit, STATUS);
}
