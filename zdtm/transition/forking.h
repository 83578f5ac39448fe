/* For tests that fork without a pause while they are dumped: no child may be lost, doubled or changed. */
#ifndef FORKING_H
#define FORKING_H

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

enum { FORKING_AT_ONCE = 4 };

static uint32_t forking_number;
static unsigned char forking_own[3000];

/* What a child sees is what its parent had at the fork; then it sleeps a while, and sees the same. */
static inline _Noreturn void forking_child(pid_t parent, long pause_ns)
{
	struct timespec rest = {0, pause_ns};
	uint32_t number = forking_number;

	for (int round = 0; round < 2; round++) {
		CHECK(forking_number == number, "child %u has become %u", number, forking_number);
		CHECK(test_differs(forking_own, sizeof(forking_own), number) < 0,
		      "memory of child %u differs", number);
		CHECK(getppid() == parent && getpgid(0) == parent && getsid(0) == parent,
		      "child %u has parent %d, group %d and session %d", number, getppid(), getpgid(0),
		      getsid(0));
		if (!round && pause_ns)
			while (nanosleep(&rest, &rest))
				CHECK(errno == EINTR, "nanosleep: %m");
	}
	_exit(0);
}

/* Children come and go, some of them at once, until the test has to end. */
static inline _Noreturn void forking_run(long pause_ns)
{
	pid_t alive[FORKING_AT_ONCE] = {0}, ended;
	int i, status, count = 0;

	while ((test_go() || forking_number < FORKING_AT_ONCE) || count) {
		for (i = 0; (test_go() || forking_number < FORKING_AT_ONCE) && i < FORKING_AT_ONCE; i++) {
			if (alive[i])
				continue;
			test_fill(forking_own, sizeof(forking_own), ++forking_number);
			alive[i] = SYS(fork());
			if (!alive[i])
				forking_child(getppid(), pause_ns);
			count++;
		}
		if (!count)
			break;
		do
			ended = waitpid(-1, &status, 0);
		while (ended == -1 && errno == EINTR);
		CHECK(ended > 0, "waitpid with %d children: %m", count);
		CHECK(!status, "child %d ended with wait status %#x", ended, status);
		for (i = 0; i < FORKING_AT_ONCE && alive[i] != ended; i++)
			;
		CHECK(i < FORKING_AT_ONCE, "pid %d is no child of the test's", ended);
		alive[i] = 0;
		count--;
	}
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there is a child that nobody forked");
	CHECK(forking_number >= FORKING_AT_ONCE, "only %u children", forking_number);
	pass();
}

#endif
