/*
 * A server, a client that is connected to it, and sockets that are neither.
 */
#ifndef SOCKET_UDP_H
#define SOCKET_UDP_H

#include <fcntl.h>
#include <sys/stat.h>

#include "udp.h"

enum { SERVER, CLIENT, FREE, EVERYWHERE, LEFT, UDP_SOCKETS };

static void socket_udp(int family, int protocol)
{
	union udp_address before[UDP_SOCKETS], peer = {}, now;
	const int anything = 1;
	struct stat st;
	socklen_t length = sizeof(peer);
	int fds[UDP_SOCKETS], other;

	fds[SERVER] = udp_bound(family, protocol, 0);
	fds[CLIENT] = udp_bound(family, protocol, 0);
	fds[FREE] = udp_socket(family, protocol);
	fds[EVERYWHERE] = udp_socket(family, protocol);
	other = udp_bound(family, protocol, 0);
	before[LEFT] = udp_name(other);
	SYS(close(other));
	fds[LEFT] = udp_socket(family, protocol);
	udp_connect(fds[CLIENT], fds[SERVER]);
	before[EVERYWHERE] = (union udp_address){.any.sa_family = family};
	SYS(bind(fds[EVERYWHERE], &before[EVERYWHERE].any, udp_length(&before[EVERYWHERE])));
	/* it keeps the port, which it was bound to by name */
	SYS(bind(fds[LEFT], &before[LEFT].any, udp_length(&before[LEFT])));
	udp_leave(fds[LEFT], fds[SERVER]);
	SYS(fcntl(fds[FREE], F_SETFL, O_NONBLOCK));
	for (int i = 0; i < UDP_SOCKETS; i++)
		before[i] = udp_name(fds[i]);
	SYS(fstat(fds[SERVER], &st));
	CHECK(st.st_uid == geteuid(), "the socket is user %u's", st.st_uid);

	test_daemon();
	test_waitsig();

	for (int i = 0; i < UDP_SOCKETS; i++) {
		now = udp_name(fds[i]);
		udp_is(&now, &before[i], "an address");
		CHECK(fcntl(fds[i], F_GETFL) == (O_RDWR | (i == FREE ? O_NONBLOCK : 0)), "%d: flags %#x", i,
		      fcntl(fds[i], F_GETFL));
		CHECK(i == CLIENT || (getpeername(fds[i], &now.any, &length) == -1 && errno == ENOTCONN),
		      "socket %d is connected", i);
		SYS(fstat(fds[i], &st));
		CHECK(st.st_uid == geteuid() && st.st_gid == getegid(), "it is user %u's", st.st_uid);
	}
	SYS(getpeername(fds[CLIENT], &peer.any, &length));
	udp_is(&peer, &before[SERVER], "the peer");
	SYS(send(fds[CLIENT], "to the server", 13, 0));
	udp_comes(fds[SERVER], "to the server", fds[CLIENT], "the server");
	udp_to(fds[SERVER], "to the client", fds[CLIENT]);
	udp_comes(fds[CLIENT], "to the client", fds[SERVER], "the client");
	/* who is connected hears nobody else */
	udp_to(fds[LEFT], "from a stranger", fds[CLIENT]);
	udp_silent(fds[CLIENT], "the client");
	udp_to(fds[SERVER], "to the left", fds[LEFT]);
	udp_comes(fds[LEFT], "to the left", fds[SERVER], "who had been connected");
	now = udp_loopback(family, ntohs(before[EVERYWHERE].in.sin_port));
	SYS(sendto(fds[SERVER], "everywhere", 10, 0, &now.any, udp_length(&now)));
	udp_comes(fds[EVERYWHERE], "everywhere", fds[SERVER], "who is bound to all addresses");
	/* the ports are taken, and the free socket can have one */
	CHECK(bind(fds[FREE], &before[SERVER].any, udp_length(&before[SERVER])) == -1 && errno == EADDRINUSE,
	      "a port can be had twice");
	SYS(setsockopt(fds[FREE], SOL_SOCKET, SO_BROADCAST, &anything, sizeof(anything)));
	udp_connect(fds[FREE], fds[SERVER]);
	SYS(send(fds[FREE], "free", 4, 0));
	now = udp_name(fds[FREE]);
	udp_comes(fds[SERVER], "free", fds[FREE], "the server");
	pass();
}

#endif
