/* For tests of POSIX timers: the system calls, as glibc has ids of its own for some kinds. */
#ifndef ZDTM_TIMERS_H
#define ZDTM_TIMERS_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

#define MS 1000000LL
#define S  1000000000LL

static inline struct timespec timer_spec(long long ns)
{
	return (struct timespec){ns / S, ns % S};
}

static inline long long timer_ns(struct timespec t)
{
	return t.tv_sec * S + t.tv_nsec;
}

/* The id of a new timer, or -1. */
static inline int timer_try(clockid_t clock, int notify, int signo, void *value)
{
	struct sigevent event = {
		.sigev_notify = notify, .sigev_signo = signo, .sigev_value.sival_ptr = value};
	int id;

	if (notify == SIGEV_THREAD_ID)
		event._sigev_un._tid = gettid();
	return syscall(SYS_timer_create, clock, &event, &id) ? -1 : id;
}

static inline int timer_make(clockid_t clock, int notify, int signo, void *value)
{
	return SYS(timer_try(clock, notify, signo, value));
}

/* Start a timer; ns. */
static inline void timer_start(int id, long long left, long long interval)
{
	struct itimerspec spec = {timer_spec(interval), timer_spec(left)};

	SYS(syscall(SYS_timer_settime, id, 0, &spec, NULL));
}

static inline struct itimerspec timer_get(int id)
{
	struct itimerspec spec;

	SYS(syscall(SYS_timer_gettime, id, &spec));
	return spec;
}

static inline long long timer_left(int id)
{
	return timer_ns(timer_get(id).it_value);
}

static inline long long timer_interval(int id)
{
	return timer_ns(timer_get(id).it_interval);
}

/* Wait until a blocked signal is pending. */
static inline void timer_await_pending(int signo)
{
	sigset_t pending;

	do
		SYS(sigpending(&pending));
	while (!sigismember(&pending, signo));
}

static inline void timer_block(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
}

/* The next signal `signo` of the queue within some time: true, or false when there is none. */
static inline bool timer_dequeue(int signo, long long ns, siginfo_t *info)
{
	const struct timespec most = timer_spec(ns);
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, signo);
	while ((got = sigtimedwait(&set, info, &most)) < 0 && errno == EINTR)
		;
	if (got < 0 && errno != EAGAIN)
		fail("sigtimedwait: %s", strerror(errno));
	return got == signo;
}

static inline void timer_check_info(const siginfo_t *info, int id, const void *value)
{
	CHECK(info->si_code == SI_TIMER, "si_code is %d", info->si_code);
	CHECK(info->si_timerid == id, "the signal is of timer %d, not %d", info->si_timerid, id);
	CHECK(info->si_ptr == value, "timer %d: the value is %p, not %p", id, info->si_ptr, value);
}

static inline long long clock_ns(clockid_t clock)
{
	struct timespec now;

	SYS(clock_gettime(clock, &now));
	return timer_ns(now);
}

/* Use so much of the process's CPU time, nearly all of it in user mode. */
static inline void burn(long long ns)
{
	long long until = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ns;

	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < until)
		for (volatile int i = 0; i < 100000; i++)
			;
}

#endif
