/*
 * A test with a child beside it.
 *
 * The child gets ready, says so in child_wait(), and goes on when the test has called child_go().
 */
#ifndef ZDTM_CHILD_H
#define ZDTM_CHILD_H

#include <unistd.h>

#include "zdtm.h"

static struct {
	uint32_t ready, go;
} *child_words;

/* fork(2). */
static inline pid_t child_fork(void)
{
	child_words = test_shared(sizeof(*child_words));
	return SYS(fork());
}

/* In a process below the test that does not say so itself. */
static inline void child_await_go(void)
{
	test_await(&child_words->go, 1);
}

/* In the child, once. */
static inline void child_wait(void)
{
	test_post(&child_words->ready);
	child_await_go();
}

/* In the test: until the child waits. */
static inline void child_await(void)
{
	test_await(&child_words->ready, 1);
}

static inline void child_go(void)
{
	test_post(&child_words->go);
}

#endif
