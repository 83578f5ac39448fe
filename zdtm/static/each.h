/*
 * A test of several settings at once, each in a child or a thread of its own.
 *
 * each_start() runs `body` with the numbers from 0 on, every other one in a thread, and returns when all of
 * them have come to each_wait(); each_end() lets them go on, and waits for their ends.
 */
#ifndef EACH_H
#define EACH_H

#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include "zdtm.h"

enum { EACH_MAX = 32 };

static struct {
	uint32_t ready, go;
} *each_words;
static void (*each_body)(int);
static unsigned int each_count;
static pthread_t each_threads[EACH_MAX];
static pid_t each_children[EACH_MAX];

static void *each_thread(void *number)
{
	each_body((int)(intptr_t)number);
	return NULL;
}

static inline void each_wait(void)
{
	test_post(&each_words->ready);
	test_await(&each_words->go, 1);
}

static inline void each_start(unsigned int count, void (*body)(int))
{
	sigset_t term, before;

	CHECK(count <= EACH_MAX, "too many");
	each_words = test_shared(sizeof(*each_words));
	each_body = body;
	each_count = count;
	for (unsigned int i = 0; i < count; i += 2) {
		each_children[i] = SYS(fork());
		if (!each_children[i]) {
			body((int)i);
			_exit(0);
		}
	}
	/* What ends the test is for its first thread. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, &before));
	for (unsigned int i = 1; i < count; i += 2)
		CHECK(!pthread_create(&each_threads[i], NULL, each_thread, (void *)(intptr_t)i), "no thread");
	SYS(sigprocmask(SIG_SETMASK, &before, NULL));
	test_await(&each_words->ready, count);
}

static inline void each_end(void)
{
	test_post(&each_words->go);
	for (unsigned int i = 0; i < each_count; i++)
		if (i % 2)
			CHECK(!pthread_join(each_threads[i], NULL), "no such thread");
		else
			test_reap(each_children[i]);
}

#endif
