/* For tests of calls that sleep for a while: dumped inside the call, it has to end by itself, normally and in
 * time. */
#ifndef ZDTM_TIMED_H
#define ZDTM_TIMED_H

#include <signal.h>

#include "zdtm.h"

/* Long enough to be dumped in, restored and looked at; the slack is for busy machines. */
enum { TIMED_MS = 1500, TIMED_SLACK_MS = 10000, TIMED_EARLY_MS = 5 };

/* The signal that ends the test must not end the call: it waits until test_waitsig(). */
static inline long timed_start(void)
{
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &term, NULL));
	test_daemon();
	return test_now_ms();
}

static inline void timed_check(long started)
{
	long ms = test_now_ms() - started;

	CHECK(ms >= TIMED_MS - TIMED_EARLY_MS, "it took %ld ms instead of %d: too short", ms, TIMED_MS);
	CHECK(ms <= TIMED_MS + TIMED_SLACK_MS, "it took %ld ms instead of %d: too long", ms, TIMED_MS);
	test_waitsig();
	pass();
}

#endif
