/*
 * title: prctl attributes, alternative stack and interval timers are as they were set
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

static const char name[] = "an odd  name)";

static long get(int option)
{
	return SYS(prctl(option, 0, 0, 0, 0));
}

int main(int argc, char **argv)
{
	const struct itimerval virtual = {{7, 11}, {5000, 0}}, profile = {{0, 0}, {9000, 0}};
	stack_t stack = {.ss_size = 1 << 16}, now;
	struct itimerval timer;
	char comm[16];
	int value;

	test_init(argc, argv);
	stack.ss_sp = malloc(stack.ss_size);
	SYS(sigaltstack(&stack, NULL));
	SYS(setitimer(ITIMER_VIRTUAL, &virtual, NULL));
	SYS(setitimer(ITIMER_PROF, &profile, NULL));
	SYS(prctl(PR_SET_NAME, name));
	/* The engine that restores it in the background is its parent, and ends: a signal that does nothing.
	 */
	SYS(prctl(PR_SET_PDEATHSIG, SIGURG, 0, 0, 0));
	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	SYS(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SYS(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	test_daemon();
	test_waitsig();
	CHECK(get(PR_GET_DUMPABLE) == 0, "it can be dumped");
	CHECK(get(PR_GET_NO_NEW_PRIVS) == 1, "it may gain privileges");
	CHECK(get(PR_GET_THP_DISABLE) == 1, "it gets huge pages");
	SYS(prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0));
	CHECK(value == 1, "child subreaper is %d", value);
	SYS(prctl(PR_GET_PDEATHSIG, &value, 0, 0, 0));
	CHECK(value == SIGURG, "parent death signal is %d", value);
	SYS(prctl(PR_GET_NAME, comm));
	CHECK(!strcmp(comm, name), "the name is '%s'", comm);
	SYS(getitimer(ITIMER_VIRTUAL, &timer));
	CHECK(timer.it_interval.tv_sec == 7 && timer.it_interval.tv_usec == 11, "interval %ld.%06ld",
	      (long)timer.it_interval.tv_sec, (long)timer.it_interval.tv_usec);
	CHECK(timer.it_value.tv_sec >= 4990 && timer.it_value.tv_sec <= 5000, "%ld s are left",
	      (long)timer.it_value.tv_sec);
	SYS(getitimer(ITIMER_PROF, &timer));
	CHECK(!timer.it_interval.tv_sec && !timer.it_interval.tv_usec, "an interval out of nothing");
	CHECK(timer.it_value.tv_sec >= 8990 && timer.it_value.tv_sec <= 9000, "%ld s are left",
	      (long)timer.it_value.tv_sec);
	SYS(getitimer(ITIMER_REAL, &timer));
	CHECK(!timer.it_value.tv_sec && !timer.it_value.tv_usec, "a timer out of nothing");
	SYS(sigaltstack(NULL, &now));
	CHECK(now.ss_sp == stack.ss_sp && now.ss_size == stack.ss_size && now.ss_flags == 0,
	      "the alternative stack is %p, %zu bytes, flags %#x", now.ss_sp, now.ss_size, now.ss_flags);
	pass();
}
