/*
 * title: an epoll watches what it did: events, data, triggers, nested ones; the same is ready
 * flavours: host ns userns
 */
#include "epoll.h"

enum { LEVEL = 1, EDGE, EXCLUSIVE, ONCE, FIRED, FIRED_END, TWICE, INNER };
#define DATA(n) (0xfedcba9876543200ull | (n))

static int eventfd_make(unsigned count)
{
	return SYS(eventfd(count, EFD_NONBLOCK));
}

int main(int argc, char **argv)
{
	int ep, outer, outermost, pipes[2], level, edge, exclusive, once, fired, twice, again;
	struct epoll_event got[8];

	test_init(argc, argv);
	ep = epoll_make();
	outer = SYS(epoll_create1(EPOLL_CLOEXEC));
	outermost = epoll_make();
	SYS(pipe(pipes));
	level = eventfd_make(1);
	edge = eventfd_make(0);
	exclusive = eventfd_make(0);
	once = eventfd_make(0);
	fired = eventfd_make(1);
	twice = eventfd_make(0);
	again = SYS(dup(twice));
	/* These two have fired; what comes then, be it the end, is not to be told. */
	epoll_add(ep, fired, EPOLLIN | EPOLLONESHOT, DATA(FIRED));
	epoll_check(ep, EPOLLIN, DATA(FIRED));
	epoll_add(ep, pipes[0], EPOLLIN | EPOLLONESHOT, DATA(FIRED_END));
	CHECK(SYS(write(pipes[1], "1", 1)) == 1, "a short write");
	epoll_check(ep, EPOLLIN, DATA(FIRED_END));
	epoll_add(ep, level, EPOLLIN, DATA(LEVEL));
	epoll_add(ep, edge, EPOLLIN | EPOLLET, DATA(EDGE));
	epoll_add(ep, exclusive, EPOLLIN | EPOLLEXCLUSIVE, DATA(EXCLUSIVE));
	epoll_add(ep, once, EPOLLIN | EPOLLONESHOT, DATA(ONCE));
	epoll_add(ep, twice, EPOLLIN, DATA(TWICE));
	epoll_add(ep, again, EPOLLOUT, DATA(TWICE + 100));
	epoll_add(outer, ep, EPOLLIN, DATA(INNER));
	epoll_add(outermost, outer, EPOLLIN, DATA(INNER + 1));
	epoll_add(outermost, ep, EPOLLIN | EPOLLET, DATA(INNER + 2));
	test_daemon();
	test_waitsig();
	CHECK(fcntl(outer, F_GETFD) == FD_CLOEXEC && fcntl(ep, F_GETFD) == 0, "close-on-exec");
	CHECK(fdinfo_count(ep, "tfd:") == 8 && fdinfo_count(outer, "tfd:") == 1 &&
		      fdinfo_count(outermost, "tfd:") == 2,
	      "other numbers of files are watched");
	CHECK(epoll_all(ep, got, 8) == 2, "other numbers of files are ready");
	CHECK(got[0].data.u64 == DATA(LEVEL) && got[0].events == EPOLLIN, "the level is not ready");
	CHECK(got[1].data.u64 == DATA(TWICE + 100) && got[1].events == EPOLLOUT,
	      "the duplicate is not ready");
	epoll_check(outer, EPOLLIN, DATA(INNER));
	CHECK(epoll_all(outermost, got, 8) == 2, "the outermost is not ready for both");
	count_out(level);
	SYS(epoll_ctl(ep, EPOLL_CTL_DEL, again, NULL));
	epoll_check_none(ep);
	epoll_check_none(outer);
	epoll_check_none(outermost);
	/* Each works as it is to. */
	count_up(edge, 1);
	epoll_check(ep, EPOLLIN, DATA(EDGE));
	epoll_check_none(ep);
	count_up(edge, 1);
	CHECK(epoll_all(outermost, got, 8) == 2, "the outermost is not ready for both again");
	epoll_check(outer, EPOLLIN, DATA(INNER));
	epoll_check(ep, EPOLLIN, DATA(EDGE));
	count_up(exclusive, 1);
	epoll_check(ep, EPOLLIN, DATA(EXCLUSIVE));
	count_out(exclusive);
	count_up(once, 1);
	epoll_check(ep, EPOLLIN, DATA(ONCE));
	epoll_check_none(ep);
	count_up(twice, 1);
	epoll_check(ep, EPOLLIN, DATA(TWICE));
	count_out(again);
	epoll_check_none(ep);
	SYS(close(pipes[1]));
	epoll_check_none(ep);
	epoll_arm(ep, fired, EPOLLIN | EPOLLONESHOT, DATA(FIRED));
	epoll_check(ep, EPOLLIN, DATA(FIRED));
	epoll_arm(ep, pipes[0], EPOLLIN | EPOLLONESHOT, DATA(FIRED_END));
	epoll_check(ep, EPOLLIN | EPOLLHUP, DATA(FIRED_END));
	pass();
}
