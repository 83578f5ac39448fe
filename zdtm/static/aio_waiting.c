/*
 * title: threads that wait for asynchronous I/O, without a limit of time, go on to wait
 * flavours: host ns userns
 * flags: suid
 * cflags: -pthread
 * needs: aio_remap
 */
#include "aio.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAITING = 2 };

static struct ring *rings[WAITING];
static pid_t tids[WAITING];

static void *wait_for_one(void *number)
{
	long i = (long)number, n;
	struct io_event event;
	sigset_t all;

	sigfillset(&all); /* the signal that ends the test is for the first thread */
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	__atomic_store_n(&tids[i], gettid(), __ATOMIC_SEQ_CST);
	if (i)
		n = syscall(SYS_io_pgetevents, rings[i], 1, 1, &event, NULL, NULL);
	else
		n = syscall(SYS_io_getevents, rings[i], 1, 1, &event, NULL);
	CHECK(n == 1, "%ld: %ld events: %m", i, n);
	CHECK(event.data == 40 + (unsigned)i && event.res == 1, "%ld: the event of another", i);
	return NULL;
}

static void await_blocked(pid_t *tid, long number)
{
	char path[64], *text;
	long now = -1;

	while (now != number) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall",
			 __atomic_load_n(tid, __ATOMIC_SEQ_CST));
		if (access(path, F_OK))
			continue;
		text = test_read_file(path, NULL);
		if (sscanf(text, "%ld", &now) != 1)
			now = -1;
		free(text);
	}
}

int main(int argc, char **argv)
{
	static const long numbers[WAITING] = {SYS_io_getevents, SYS_io_pgetevents};
	pthread_t threads[WAITING];
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/dev/null", O_WRONLY));
	for (long i = 0; i < WAITING; i++) {
		rings[i] = aio_make(1);
		CHECK(!pthread_create(&threads[i], NULL, wait_for_one, (void *)i), "no thread");
		await_blocked(&tids[i], numbers[i]);
	}
	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < WAITING; i++) {
		aio_write(rings[i], fd, 1, 40 + i);
		CHECK(!pthread_join(threads[i], NULL), "no end of the thread");
		aio_is_empty(rings[i]);
	}
	pass();
}
