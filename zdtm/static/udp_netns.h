/*
 * UDP sockets in several network namespaces, each with the same port.
 */
#ifndef UDP_NETNS_H
#define UDP_NETNS_H

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "child.h"
#include "udp.h"

static void up(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = udp_socket(AF_INET, 0);

	SYS(ioctl(fd, SIOCSIFFLAGS, &lo));
	SYS(close(fd));
}

/* In each namespace the same port is another one, and who is there is heard by that socket. */
static void check(int server, int client, const char *text, const char *what)
{
	SYS(send(client, text, strlen(text), 0));
	udp_comes(server, text, client, what);
	udp_silent(server, what);
}

static void make(int fds[2], int port)
{
	fds[0] = udp_bound(AF_INET, 0, port);
	fds[1] = udp_bound(AF_INET, 0, 0);
	udp_connect(fds[1], fds[0]);
}

static void kid(int port, const int others[2])
{
	int fds[2];

	SYS(unshare(CLONE_NEWNET));
	up();
	make(fds, port);
	child_wait();
	check(fds[0], fds[1], "the child's", "the child's server");
	/* what it has of the test's namespace is still of that */
	check(others[0], others[1], "by the child", "the test's server");
	SYS(close(fds[0]));
	make(fds, port);
	_exit(0);
}

/* A namespace that no task is in is made, too, if `held`. */
static void udp_netns(bool held)
{
	int its[2], nobody[2], own, port;
	pid_t child;

	up();
	make(its, 0);
	port = udp_port(its[0]);
	child = child_fork();
	if (!child)
		kid(port, its);
	child_await();
	if (held) {
		own = SYS(open("/proc/self/ns/net", O_RDONLY));
		SYS(unshare(CLONE_NEWNET));
		up();
		make(nobody, port);
		SYS(setns(own, CLONE_NEWNET));
		SYS(close(own));
	}
	test_daemon();
	test_waitsig();
	check(its[0], its[1], "the test's", "the test's server");
	if (held)
		check(nobody[0], nobody[1], "nobody's", "nobody's server");
	CHECK(udp_port(its[0]) == port && (!held || udp_port(nobody[0]) == port), "a port is another");
	child_go();
	test_reap(child);
	pass();
}

#endif
