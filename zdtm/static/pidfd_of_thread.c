/*
 * title: pidfds of threads, the first one and another, alive and gone
 * flavours: host ns userns
 */
#include <poll.h>
#include <pthread.h>

#include "pidfd.h"

static pid_t tids[2];
static uint32_t ready, go[2];

static void *run(void *which)
{
	long i = (long)which;

	tids[i] = gettid();
	test_post(&ready);
	test_await(&go[i], 1);
	return NULL;
}

static int ended(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return SYS(poll(&poll_fd, 1, 0));
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	int fds[2], own;
	long i;

	test_init(argc, argv);
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, run, (void *)i), "pthread_create");
	test_await(&ready, 2);
	for (i = 0; i < 2; i++)
		fds[i] = pidfd_of(tids[i], PIDFD_THREAD | O_NONBLOCK);
	own = pidfd_of(getpid(), PIDFD_THREAD);
	test_post(&go[1]);
	CHECK(!pthread_join(threads[1], NULL), "pthread_join");
	while (!ended(fds[1])) /* the join is before the end */
		sched_yield();
	test_daemon();
	test_waitsig();
	pidfd_check(fds[0], tids[0], PIDFD_THREAD | O_NONBLOCK, FD_CLOEXEC);
	pidfd_check(fds[1], -1, PIDFD_THREAD | O_NONBLOCK, FD_CLOEXEC);
	pidfd_check(own, getpid(), PIDFD_THREAD, FD_CLOEXEC);
	CHECK(!ended(fds[0]) && ended(fds[1]) && !ended(own), "ends are told of: %d %d %d", ended(fds[0]),
	      ended(fds[1]), ended(own));
	test_post(&go[0]);
	CHECK(!pthread_join(threads[0], NULL), "pthread_join");
	while (!ended(fds[0]))
		sched_yield();
	pass();
}
