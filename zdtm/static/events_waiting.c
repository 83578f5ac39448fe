/*
 * title: children that wait for events, in epoll_wait(2), reads and ppoll(2), go on to wait
 * flavours: host ns userns
 */
#include "epoll.h"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/syscall.h>

enum { EPOLL, EPOLL_P, EVENT, SEMAPHORE_FULL, SIGNAL, TIMER, INOTIFY, PPOLL, KINDS };

static const char *const wchan[KINDS] = {
	"epoll_wait", "epoll_pwait", "read", "write", "read", "read", "read", "ppoll",
};
static int ep, fds[KINDS];
static uint32_t *ready;

/* Blocked in the call: /proc says its number. */
static void await_blocked(pid_t pid, int kind)
{
	static const long numbers[KINDS] = {
		SYS_epoll_pwait, SYS_epoll_pwait, SYS_read, SYS_write,
		SYS_read,	 SYS_read,	  SYS_read, SYS_ppoll,
	};
	char path[64], *text;
	long now = -1;
	int state = 0;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	while (!state) {
		text = test_read_file(path, NULL);
		state = sscanf(text, "%ld", &now) == 1 && now == numbers[kind];
#ifdef SYS_epoll_wait
		state |= kind == EPOLL && now == SYS_epoll_wait;
#endif
		free(text);
	}
}

static _Noreturn void child(int kind)
{
	struct epoll_event event = {0};
	struct signalfd_siginfo info;
	struct pollfd p = {.fd = fds[PPOLL], .events = POLLIN};
	char buf[4096];
	sigset_t set;
	long n = 0;

	sigfillset(&set);
	switch (kind) {
	case EPOLL: n = epoll_wait(ep, &event, 1, -1); break;
	case EPOLL_P: n = epoll_pwait(ep, &event, 1, -1, &set); break;
	case EVENT: n = read(fds[kind], buf, 8) / 8; break;
	case SEMAPHORE_FULL: n = write(fds[kind], "\1\0\0\0\0\0\0", 8) / 8; break;
	case SIGNAL:
		sigprocmask(SIG_BLOCK, &set, NULL);
		n = read(fds[kind], &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1;
		break;
	case TIMER: n = read(fds[kind], buf, 8) / 8; break;
	case INOTIFY:
		n = read(fds[kind], buf, sizeof(buf)) > 0 &&
		    ((struct inotify_event *)buf)->mask == (IN_CREATE | IN_ISDIR);
		break;
	case PPOLL: n = ppoll(&p, 1, NULL, &set); break;
	}
	CHECK(n == 1, "%s (kind %d) returns %ld: %s", wchan[kind], kind, n, strerror(errno));
	_exit(0);
}

int main(int argc, char **argv)
{
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	pid_t pids[KINDS];
	sigset_t set;
	uint64_t got;
	int i;

	test_init(argc, argv);
	ready = test_shared(sizeof(*ready));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ep = epoll_make();
	fds[EPOLL] = SYS(eventfd(0, 0));
	epoll_add(ep, fds[EPOLL], EPOLLIN, 1);
	fds[EVENT] = SYS(eventfd(0, 0));
	fds[SEMAPHORE_FULL] = SYS(eventfd(0, EFD_SEMAPHORE));
	count_up(fds[SEMAPHORE_FULL], 0xfffffffffffffffeull);
	fds[SIGNAL] = SYS(signalfd(-1, &set, 0));
	fds[TIMER] = SYS(timerfd_create(CLOCK_MONOTONIC, 0));
	fds[INOTIFY] = SYS(inotify_init());
	SYS(inotify_add_watch(fds[INOTIFY], ".", IN_CREATE));
	fds[PPOLL] = SYS(eventfd(0, 0));
	for (i = 0; i < KINDS; i++) {
		pids[i] = SYS(fork());
		if (!pids[i])
			child(i);
		await_blocked(pids[i], i);
	}
	test_daemon();
	test_waitsig();
	SYS(kill(pids[SIGNAL], SIGUSR1));
	test_reap(pids[SIGNAL]);
	count_up(fds[EPOLL], 1);
	test_reap(pids[EPOLL]);
	test_reap(pids[EPOLL_P]);
	count_up(fds[EVENT], 1);
	test_reap(pids[EVENT]);
	CHECK(SYS(read(fds[SEMAPHORE_FULL], &got, sizeof(got))) == sizeof(got) && got == 1, "no semaphore");
	test_reap(pids[SEMAPHORE_FULL]);
	SYS(timerfd_settime(fds[TIMER], 0, &soon, NULL));
	test_reap(pids[TIMER]);
	SYS(mkdir("new", 0700));
	test_reap(pids[INOTIFY]);
	SYS(rmdir("new"));
	count_up(fds[PPOLL], 1);
	test_reap(pids[PPOLL]);
	pass();
}
