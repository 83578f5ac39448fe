/* Threads of a test. */
#ifndef ZDTM_THREADS_H
#define ZDTM_THREADS_H

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

/* A call of the pthread family must return 0. */
#define PTHREAD(call)                                                                              \
	do {                                                                                       \
		int pthread_error = (call);                                                        \
		if (pthread_error)                                                                 \
			fail("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(pthread_error)); \
	} while (0)

/* Start a thread; it leaves SIGTERM, which ends the test, to its maker. */
static inline pthread_t thread_start(void *(*run)(void *), void *argument)
{
	sigset_t term, before;
	pthread_attr_t small;
	pthread_t thread;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	PTHREAD(pthread_attr_init(&small));
	PTHREAD(pthread_attr_setstacksize(&small, 1 << 17));
	PTHREAD(pthread_sigmask(SIG_BLOCK, &term, &before));
	PTHREAD(pthread_create(&thread, &small, run, argument));
	PTHREAD(pthread_sigmask(SIG_SETMASK, &before, NULL));
	PTHREAD(pthread_attr_destroy(&small));
	return thread;
}

static inline void thread_join(pthread_t thread)
{
	PTHREAD(pthread_join(thread, NULL));
}

/* A file of a thread of this process, as a string; empty when the thread is gone. */
static inline void thread_file(pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
}

/* Wait until a thread of this process sleeps in the system call of that number. */
static inline void thread_sleeps_in(pid_t tid, long number)
{
	char text[256], *end;
	long seen;

	for (;;) {
		thread_file(tid, "syscall", text, sizeof(text));
		CHECK(*text, "thread %d is gone", tid);
		seen = strtol(text, &end, 10);
		/* interrupted, it may be continued under another name */
		if ((seen == number || seen == SYS_restart_syscall) && end != text)
			return;
		sched_yield();
	}
}

#endif
