/*
 * title: files are watched under numbers that are closed by now, or other files', or that only relatives have
 * flavours: host ns userns
 */
#include "child.h"
#include "epoll.h"

#include <signal.h>

enum { CLOSED = 50, TAKEN = 60, BOTH = 70, MOVED = 80, HIGH = 90 };

static void check_tfd(int ep, int number, int times)
{
	char key[32];

	snprintf(key, sizeof(key), "tfd: %8d ", number);
	CHECK(fdinfo_count(ep, key) == times, "number %d is not watched %d times", number, times);
}

int main(int argc, char **argv)
{
	int ep, foreign, closed, taken, first, second, kids, other;
	struct epoll_event got[8];
	pid_t pid;

	test_init(argc, argv);
	ep = epoll_make();
	foreign = epoll_make();
	closed = SYS(eventfd(0, 0));
	taken = SYS(eventfd(0, 0));
	first = SYS(eventfd(0, 0));
	second = SYS(eventfd(0, 0));
	/* Closed: its file has another number. */
	SYS(dup2(closed, CLOSED));
	epoll_add(ep, CLOSED, EPOLLIN, 1);
	SYS(close(CLOSED));
	/* Taken: another file has that number now, and is watched under it as well. */
	SYS(dup2(taken, TAKEN));
	epoll_add(ep, TAKEN, EPOLLIN, 2);
	other = SYS(eventfd(0, 0));
	SYS(dup3(other, TAKEN, O_CLOEXEC));
	/* Two files were watched under one number, of which a pipe has it now. */
	SYS(dup2(first, BOTH));
	epoll_add(ep, BOTH, EPOLLIN, 3);
	SYS(dup2(second, BOTH));
	epoll_add(ep, BOTH, EPOLLIN, 4);
	SYS(dup2(STDOUT_FILENO, BOTH));
	/* A child alone has the file; it has an epoll of its own that watches a file that the test alone has.
	 */
	kids = SYS(eventfd(0, 0));
	SYS(dup2(kids, HIGH));
	epoll_add(ep, HIGH, EPOLLIN, 5);
	SYS(dup2(second, MOVED));
	epoll_add(foreign, MOVED, EPOLLIN, 6);
	pid = child_fork();
	if (!pid) {
		SYS(close(second));
		SYS(close(MOVED));
		SYS(close(HIGH));
		child_wait();
		epoll_check_none(foreign);
		count_up(kids, 1);
		test_post(&child_words->ready);
		test_await(&child_words->go, 2);
		_exit(0);
	}
	SYS(close(kids));
	SYS(close(HIGH));
	SYS(close(foreign));
	SYS(close(MOVED));
	child_await();
	test_daemon();
	test_waitsig();
	check_tfd(ep, CLOSED, 1);
	check_tfd(ep, TAKEN, 1);
	check_tfd(ep, BOTH, 2);
	check_tfd(ep, HIGH, 1);
	CHECK(fcntl(TAKEN, F_GETFD) == FD_CLOEXEC && fcntl(CLOSED, F_GETFD) == -1 &&
		      fcntl(HIGH, F_GETFD) == -1,
	      "numbers are not as they were");
	epoll_check_none(ep);
	count_up(TAKEN, 1);
	epoll_check_none(ep);
	count_out(other);
	count_up(closed, 1);
	count_up(taken, 1);
	count_up(first, 1);
	CHECK(epoll_all(ep, got, 8) == 3, "not all are ready");
	CHECK(got[0].data.u64 == 1 && got[1].data.u64 == 2 && got[2].data.u64 == 3, "others are ready");
	count_out(closed);
	count_out(taken);
	count_out(first);
	/* What is now at a number is another registration. */
	epoll_add(ep, TAKEN, EPOLLIN, 7);
	check_tfd(ep, TAKEN, 2);
	child_go();
	test_await(&child_words->ready, 2);
	epoll_check(ep, EPOLLIN, 5);
	child_go();
	test_reap(pid);
	/* Nobody has it any more. */
	epoll_check_none(ep);
	check_tfd(ep, HIGH, 0);
	pass();
}
