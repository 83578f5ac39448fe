/*
 * UDP sockets of either family at the loopback address, with ports that the kernel chooses.
 */
#ifndef UDP_H
#define UDP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zdtm.h"

union udp_address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static inline union udp_address udp_loopback(int family, int port)
{
	union udp_address address = {};

	address.any.sa_family = family;
	if (family == AF_INET) {
		address.in.sin_port = htons(port);
		address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else {
		address.in6.sin6_port = htons(port);
		address.in6.sin6_addr = in6addr_loopback;
	}
	return address;
}

static inline socklen_t udp_length(const union udp_address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->in) : sizeof(address->in6);
}

static inline union udp_address udp_name(int fd)
{
	union udp_address address = {};
	socklen_t length = sizeof(address);

	SYS(getsockname(fd, &address.any, &length));
	return address;
}

static inline int udp_port(int fd)
{
	return ntohs(udp_name(fd).in.sin_port);
}

static inline int udp_socket(int family, int protocol)
{
	return SYS(socket(family, SOCK_DGRAM, protocol));
}

static inline int udp_bound(int family, int protocol, int port)
{
	union udp_address address = udp_loopback(family, port);
	int fd = udp_socket(family, protocol);

	SYS(bind(fd, &address.any, udp_length(&address)));
	return fd;
}

static inline void udp_connect(int fd, int to)
{
	union udp_address address = udp_name(to);

	SYS(connect(fd, &address.any, udp_length(&address)));
}

/* Connect, and leave again. */
static inline void udp_leave(int fd, int to)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	udp_connect(fd, to);
	SYS(connect(fd, &nobody, sizeof(nobody)));
}

static inline void udp_is(const union udp_address *now, const union udp_address *before, const char *what)
{
	CHECK(!memcmp(now, before, sizeof(*now)), "%s is another: port %u, was %u", what,
	      ntohs(now->in.sin_port), ntohs(before->in.sin_port));
}

/* Nothing waits there. */
static inline void udp_silent(int fd, const char *what)
{
	char text[64];

	CHECK(recv(fd, text, sizeof(text), MSG_DONTWAIT) == -1 && errno == EAGAIN, "%s got something", what);
}

/* A datagram comes there, from that one. */
static inline void udp_comes(int fd, const char *text, int from, const char *what)
{
	union udp_address sender = {}, its = udp_name(from);
	socklen_t length = sizeof(sender);
	char got[64] = {};
	ssize_t n = recvfrom(fd, got, sizeof(got) - 1, MSG_DONTWAIT, &sender.any, &length);

	CHECK(n == (ssize_t)strlen(text) && !strcmp(got, text), "%s got %zd bytes: '%s' (%m)", what, n, got);
	udp_is(&sender, &its, "who has sent it");
}

/* A datagram to a socket that is bound there. */
static inline void udp_to(int from, const char *text, int to)
{
	union udp_address address = udp_name(to);

	SYS(sendto(from, text, strlen(text), 0, &address.any, udp_length(&address)));
}

#endif
