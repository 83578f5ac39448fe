/*
 * title: owners that are processes, threads and groups, later ones too, with signals of their own and without
 * flavours: host ns userns
 * cflags: -pthread
 */
#include <poll.h>

#include "child.h"
#include "owners.h"
#include "threads.h"

static uint32_t stop;
static volatile pid_t tid;

static void *thread(void *argument)
{
	tid = gettid();
	test_await(&stop, 1);
	return argument;
}

static void expect_signal(int sig, int code, int fd)
{
	struct timespec limit = {5, 0};
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(sigtimedwait(&set, &info, &limit) == sig, "signal %d: %m", sig);
	CHECK(info.si_code == code && info.si_fd == fd, "signal %d with code %d, fd %d", sig, info.si_code,
	      info.si_fd);
	CHECK(info.si_band == (code == POLL_IN ? POLLIN | POLLRDNORM : POLLOUT | POLLWRNORM | POLLWRBAND),
	      "signal %d with band %#lx", sig, info.si_band);
}

int main(int argc, char **argv)
{
	int process[2], thread_[2], group[2], quiet[2], childs[2], other, sig = SIGRTMIN;
	pthread_t id;
	sigset_t all;
	pid_t child;

	test_init(argc, argv);
	sigfillset(&all);
	sigdelset(&all, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &all, NULL));
	SYS(pipe(process));
	SYS(pipe(thread_));
	SYS(pipe(group));
	SYS(pipe(quiet));
	SYS(pipe(childs));
	child = child_fork();
	if (!child) {
		SYS(setpgid(0, 0));
		child_wait();
		expect_signal(sig + 2, POLL_IN, group[0]);
		expect_signal(sig + 4, POLL_OUT, childs[1]);
		_exit(0);
	}
	child_await();
	id = thread_start(thread, NULL);
	while (!tid)
		;
	owners_set(process[0], F_OWNER_PID, getpid(), sig);
	SYS(fcntl(process[0], F_SETFL, O_ASYNC));
	owners_set(thread_[0], F_OWNER_TID, tid, sig + 1);
	SYS(fcntl(thread_[0], F_SETFL, O_ASYNC));
	owners_set(group[0], F_OWNER_PGRP, child, sig + 2);
	SYS(fcntl(group[0], F_SETFL, O_ASYNC | O_NONBLOCK));
	/* nobody is told of this one yet */
	owners_set(quiet[0], F_OWNER_PID, getpid(), sig + 3);
	SYS(fcntl(quiet[1], F_SETSIG, sig + 9));
	/* the child has the same description: it is the one who is told */
	owners_set(childs[1], F_OWNER_PID, child, sig + 4);
	SYS(fcntl(childs[1], F_SETFL, O_ASYNC));
	other = SYS(open("file", O_CREAT | O_RDWR, 0600));
	owners_set(other, F_OWNER_PID, child, 0);
	test_daemon();
	test_waitsig();
	owners_expect(process[0], F_OWNER_PID, getpid(), sig);
	owners_expect_uids(process[0], getuid(), geteuid());
	owners_expect(thread_[0], F_OWNER_TID, tid, sig + 1);
	owners_expect(group[0], F_OWNER_PGRP, child, sig + 2);
	owners_expect(quiet[0], F_OWNER_PID, getpid(), sig + 3);
	CHECK(fcntl(quiet[1], F_GETSIG) == sig + 9 && !fcntl(quiet[1], F_GETOWN), "signal %d for %d",
	      fcntl(quiet[1], F_GETSIG), fcntl(quiet[1], F_GETOWN));
	owners_expect(childs[1], F_OWNER_PID, child, sig + 4);
	owners_expect(other, F_OWNER_PID, child, 0);
	CHECK(fcntl(group[0], F_GETFL) == (O_RDONLY | O_ASYNC | O_NONBLOCK), "flags %#o",
	      fcntl(group[0], F_GETFL));
	SYS(sigpending(&all));
	CHECK(sigisemptyset(&all), "a signal came from nothing");
	CHECK(write(process[1], "x", 1) == 1 && write(thread_[1], "x", 1) == 1 &&
		      write(group[1], "x", 1) == 1 && write(quiet[1], "x", 1) == 1 &&
		      write(childs[1], "x", 1) == 1 && read(childs[0], &all, 1) == 1,
	      "a pipe: %m");
	expect_signal(sig, POLL_IN, process[0]);
	SYS(sigpending(&all));
	CHECK(sigisemptyset(&all), "the process was told of others, too");
	SYS(fcntl(quiet[0], F_SETFL, O_ASYNC));
	CHECK(write(quiet[1], "x", 1) == 1, "a short write");
	expect_signal(sig + 3, POLL_IN, quiet[0]);
	child_go();
	test_reap(child);
	test_post(&stop);
	SYS(pthread_join(id, NULL));
	pass();
}
