/*
 * title: UDP sockets without a port: with an address, or shut down
 * flavours: host ns userns
 */
#include <poll.h>

#include "udp.h"

static short events(int fd)
{
	struct pollfd its = {.fd = fd, .events = POLLIN | POLLRDHUP};

	SYS(poll(&its, 1, 0));
	return its.revents;
}

/* The port was the kernel's as long as it was connected, and the address is its own. */
static int portless(int family, int to)
{
	int fd = udp_bound(family, 0, 0);

	udp_leave(fd, to);
	CHECK(!udp_port(fd), "it has a port");
	return fd;
}

static int shut(int family, int how)
{
	int fd = udp_socket(family, 0);

	CHECK(shutdown(fd, how) == -1 && errno == ENOTCONN, "shutdown(2): %m");
	return fd;
}

static void check(int fd, const union udp_address *before, int server)
{
	union udp_address now = udp_name(fd);

	udp_is(&now, before, "an address without a port");
	udp_to(fd, "from here", server);
	udp_comes(server, "from here", fd, "the server");
}

int main(int argc, char **argv)
{
	int server, server6, fd, fd6, read, both;
	union udp_address name, name6;
	char text[16] = {};

	test_init(argc, argv);
	server = udp_bound(AF_INET, 0, 0);
	server6 = udp_bound(AF_INET6, 0, 0);
	fd = portless(AF_INET, server);
	fd6 = portless(AF_INET6, server6);
	name = udp_name(fd);
	name6 = udp_name(fd6);
	read = shut(AF_INET, SHUT_RD);
	both = shut(AF_INET6, SHUT_RDWR);
	test_daemon();
	test_waitsig();
	check(fd, &name, server);
	check(fd6, &name6, server6);
	CHECK(events(read) == (POLLIN | POLLRDHUP), "shut for receiving: poll(2) says %#x", events(read));
	CHECK(events(both) == (POLLIN | POLLRDHUP | POLLHUP), "shut: poll(2) says %#x", events(both));
	udp_to(read, "it sends", server);
	CHECK(recv(server, text, sizeof(text), MSG_DONTWAIT) == 8 && !memcmp(text, "it sends", 8),
	      "the server has %.8s", text);
	pass();
}
