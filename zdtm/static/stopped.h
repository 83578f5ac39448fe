/* For tests of stopped children: one that counts how often it gets on, and what has to hold while it does
 * not. */
#ifndef STOPPED_H
#define STOPPED_H

#include "tree.h"

struct stopped {
	pid_t pid;
	int sig; /* that stopped it */
	struct stopped_shared {
		uint32_t ready, go, got_on;
	} *shared;
};

static inline _Noreturn void stopped_child(struct stopped_shared *shared, int blocked)
{
	unsigned char own[5000];
	sigset_t mask, pending;
	pid_t parent = getppid();
	int sig;

	/* in a group of its own: terminal stop signals have an effect where a parent could continue it */
	SYS(setpgid(0, 0));
	sigemptyset(&mask);
	if (blocked)
		sigaddset(&mask, blocked);
	SYS(sigprocmask(SIG_SETMASK, &mask, NULL));
	test_fill(own, sizeof(own), (uint32_t)getpid());
	test_post(&shared->ready);
	test_await(&shared->go, 1);
	__atomic_add_fetch(&shared->got_on, 1, __ATOMIC_SEQ_CST);
	CHECK(getppid() == parent && getpgid(0) == getpid() && getsid(0) == parent,
	      "the child has other parents");
	CHECK(test_differs(own, sizeof(own), (uint32_t)getpid()) < 0, "the child's memory differs");
	/* What was to stop it again went when it was continued: signal(7). */
	SYS(sigpending(&pending));
	for (sig = 1; sig < 32; sig++)
		CHECK(!sigismember(&pending, sig), "signal %d is pending", sig);
	_exit(0);
}

/* Wait for the news of a stop; does a wait find one, and is it this? */
static inline void stopped_wait(const struct stopped *s, int options)
{
	siginfo_t info = {.si_pid = 0};

	SYS(waitid(P_PID, (id_t)s->pid, &info, WSTOPPED | options));
	CHECK(info.si_pid == s->pid, "wait does not report the stop by signal %d", s->sig);
	CHECK(info.si_code == CLD_STOPPED && info.si_status == s->sig, "wait reports code %d and status %d",
	      info.si_code, info.si_status);
	CHECK(info.si_uid == getuid(), "wait reports uid %d", info.si_uid);
}

/* A child stopped by a signal, with another one blocked if that is not 0; the parent has not consumed the
 * news. */
static inline struct stopped stopped_start(int sig, int blocked)
{
	struct stopped s = {.sig = sig, .shared = test_shared(sizeof(*s.shared))};

	s.pid = SYS(fork());
	if (!s.pid)
		stopped_child(s.shared, blocked);
	tree_await(s.pid, &s.shared->ready, 1);
	SYS(kill(s.pid, sig));
	stopped_wait(&s, WNOWAIT);
	return s;
}

/* It is stopped, whoever wakes it. */
static inline void stopped_holds(const struct stopped *s)
{
	CHECK(tree_state(s->pid) == 'T', "the child is in state %c", tree_state(s->pid));
	test_post(&s->shared->go);
	CHECK(tree_state(s->pid) == 'T', "the child wakes up, into state %c", tree_state(s->pid));
	CHECK(!__atomic_load_n(&s->shared->got_on, __ATOMIC_SEQ_CST),
	      "the child gets on while it is stopped");
}

/* It is stopped, that is news still, and it ends as it should once it is continued. */
static inline void stopped_finish(const struct stopped *s)
{
	siginfo_t info = {.si_pid = 0};

	stopped_holds(s);
	stopped_wait(s, WNOHANG);
	SYS(waitid(P_PID, (id_t)s->pid, &info, WSTOPPED | WEXITED | WCONTINUED | WNOHANG));
	CHECK(!info.si_pid, "wait reports the child twice: code %d, status %d", info.si_code, info.si_status);
	SYS(kill(s->pid, SIGCONT));
	/* Neither another stop nor another end is reported. */
	SYS(waitid(P_PID, (id_t)s->pid, &info, WSTOPPED | WEXITED));
	CHECK(info.si_code == CLD_EXITED && info.si_status == 0,
	      "the child has code %d and status %d, continued", info.si_code, info.si_status);
	CHECK(s->shared->got_on == 1, "the child got on %u times", s->shared->got_on);
}

#endif
