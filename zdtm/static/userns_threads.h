/* Processes with threads in user namespaces below the test's, made in several ways. */
#ifndef USERNS_THREADS_H
#define USERNS_THREADS_H

#include <limits.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "child.h"
#include "filter.h"
#include "pidns.h"
#include "threads.h"
#include "userns.h"

#define NAME "below"

/* plain: nothing of its own; other: another user, without capabilities; apart: in an uts namespace of its own
 */
enum { PLAIN, OTHER, APART, THREADS };

/* All that tells who a thread is. */
struct who {
	pid_t tid;
	uid_t uids[3];
	gid_t gids[3];
	struct __user_cap_data_struct caps[2];
	ino_t user, uts;
};

static uint32_t started, going, asked;
static pid_t plain;

static ino_t space(const char *of, const char *kind)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", of, kind);
	SYS(stat(path, &st));
	return st.st_ino;
}

static void look(struct who *it)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	memset(it, 0, sizeof(*it));
	it->tid = gettid();
	SYS(getresuid(&it->uids[0], &it->uids[1], &it->uids[2]));
	SYS(getresgid(&it->gids[0], &it->gids[1], &it->gids[2]));
	SYS(syscall(SYS_capget, &header, it->caps));
	it->user = space("thread-self", "user");
	it->uts = space("thread-self", "uts");
}

static void *run(void *number)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct some[2] = {{.permitted = 1 << CAP_KILL}};
	int which = (int)(intptr_t)number;
	struct who before, now;
	char name[65];
	sigset_t set;

	if (which == PLAIN) {
		plain = gettid();
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		PTHREAD(pthread_sigmask(SIG_BLOCK, &set, NULL));
	} else if (which == OTHER) { /* the C library's would be for all threads */
		SYS(prctl(PR_SET_KEEPCAPS, 1));
		SYS(syscall(SYS_setresgid, 4, 4, 3));
		SYS(syscall(SYS_setresuid, 2, 2, 1));
		SYS(syscall(SYS_capset, &header, some));
	} else {
		SYS(unshare(CLONE_NEWUTS));
		SYS(sethostname(NAME, strlen(NAME)));
		filter_add(SYS_getpgrp, FILTER_ERRNO(EXDEV), 0); /* it may: it has all capabilities there */
	}
	look(&before);
	test_post(&started);
	test_await(&going, 1);
	look(&now);
	before.user = now.user; /* numbers of namespaces change */
	before.uts = now.uts;
	CHECK(!memcmp(&before, &now, sizeof(now)), "thread %d: %d %d %d %#x, was %d %d %d %#x", which,
	      now.tid, now.uids[0], now.gids[2], now.caps[0].permitted, before.tid, before.uids[0],
	      before.gids[2], before.caps[0].permitted);
	CHECK(now.user == space("self", "user"), "thread %d is in another user namespace", which);
	CHECK((now.uts == space("self", "uts")) == (which != APART), "thread %d is in the wrong uts one",
	      which);
	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, NAME) == (which == APART), "thread %d: the name is %s", which, name);
	filter_expect(SYS_getpgrp, which == APART ? EXDEV : 0);
	if (which == PLAIN) {
		test_post(&asked);
		CHECK(sigwaitinfo(&set, NULL) == SIGUSR1, "sigwaitinfo: %m");
	}
	return number;
}

/* A process: how it is made, and whether it makes the user namespace itself then. */
struct way {
	unsigned long flags;
	bool unshares;
};

enum { WAYS = 4 }; /* at most */

static void below(const struct way *way, uint32_t *mapped)
{
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	pthread_t threads[THREADS];
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	ino_t uts = space("self", "uts");
	timer_t timer;
	pid_t kid;

	if (way->unshares)
		SYS(unshare(CLONE_NEWUSER));
	test_post(mapped);
	test_await(mapped, 2);
	SYS(setresgid(5, 5, 5));
	SYS(setresuid(0, 0, 0));
	for (int i = 0; i < THREADS; i++) {
		threads[i] = thread_start(run, (void *)(intptr_t)i);
		test_await(&started, i + 1);
	}
	kid = SYS(fork()); /* which is stopped all the time */
	if (!kid) {
		raise(SIGSTOP);
		_exit(0);
	}
	SYS(waitpid(kid, NULL, WUNTRACED));
	event._sigev_un._tid = plain;
	SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK(space("self", "uts") == uts, "all are in another uts namespace");
	child_wait();
	SYS(kill(kid, SIGCONT));
	test_reap(kid);
	test_post(&going);
	test_await(&asked, 1);
	SYS(timer_settime(timer, 0, &soon, NULL));
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	_exit(0);
}

/* The whole of a case. */
static _Noreturn void ways_run(const struct way *ways, int count)
{
	pid_t pids[WAYS];
	uint32_t *mapped;

	mapped = test_shared(sizeof(*mapped) * WAYS);
	child_words = test_shared(sizeof(*child_words));
	for (int i = 0; i < count; i++) {
		pids[i] = pidns_fork(ways[i].flags);
		if (!pids[i])
			below(ways + i, mapped + i);
		test_await(mapped + i, 1);
		userns_write(pids[i], "uid_map", "0 1000 5\n10 2000 3\n");
		userns_write(pids[i], "gid_map", "0 3000 6\n");
		test_post(mapped + i);
	}
	test_await(&child_words->ready, count);
	test_daemon();
	test_waitsig();
	for (int i = 0; i < count; i++) {
		char pid[16];

		snprintf(pid, sizeof(pid), "%d", pids[i]);
		CHECK(space(pid, "user") != space("self", "user"),
		      "process %d is in the test's user namespace", i);
	}
	child_go();
	for (int i = 0; i < count; i++)
		test_reap(pids[i]);
	pass();
}

#endif
