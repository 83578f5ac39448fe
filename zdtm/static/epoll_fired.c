/*
 * title: what was to be told once, and has been, stays silent: ends of pipes that are empty, hung up, full
 * flavours: host ns userns
 */
#include "epoll.h"

int main(int argc, char **argv)
{
	int ep, empty[2], ended[2], full[2];
	char byte;

	test_init(argc, argv);
	ep = epoll_make();
	SYS(pipe(empty));
	SYS(pipe(ended));
	SYS(pipe(full));
	epoll_add(ep, empty[0], EPOLLIN | EPOLLONESHOT, 1);
	CHECK(SYS(write(empty[1], "x", 1)) == 1, "a short write");
	epoll_check(ep, EPOLLIN, 1);
	CHECK(SYS(read(empty[0], &byte, 1)) == 1, "a short read");
	SYS(close(ended[1]));
	epoll_add(ep, ended[0], EPOLLIN | EPOLLONESHOT | EPOLLET, 2);
	epoll_check(ep, EPOLLHUP, 2);
	epoll_add(ep, full[1], EPOLLOUT | EPOLLONESHOT, 3);
	epoll_check(ep, EPOLLOUT, 3);
	test_daemon();
	test_waitsig();
	CHECK(fdinfo_count(ep, "tfd:") == 3 && fdinfo_count(ep, "events: 40000000 ") == 2 &&
		      fdinfo_count(ep, "events: c0000000 ") == 1,
	      "they have not all fired");
	epoll_check_none(ep);
	SYS(close(empty[1]));
	SYS(close(full[0]));
	epoll_check_none(ep);
	CHECK(SYS(read(empty[0], &byte, 1)) == 0, "there is something in the empty pipe");
	epoll_arm(ep, full[1], EPOLLONESHOT, 3);
	epoll_check(ep, EPOLLERR, 3);
	epoll_arm(ep, empty[0], EPOLLONESHOT, 1);
	epoll_check(ep, EPOLLHUP, 1);
	pass();
}
