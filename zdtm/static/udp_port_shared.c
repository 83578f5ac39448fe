/*
 * title: sockets that share a port: who was bound last is heard, those with SO_REUSEPORT in turn
 * flavours: host ns userns
 */
#include "udp.h"

enum { FIRST, SECOND, THIRD, MEMBERS };
enum { DATAGRAMS = 64 };

static int free_socket(int family, int name)
{
	int fd = udp_socket(family, 0), one = 1;

	SYS(setsockopt(fd, SOL_SOCKET, name, &one, sizeof(one)));
	return fd;
}

static void put(int fd, int family, int port)
{
	union udp_address address = udp_loopback(family, port);

	SYS(bind(fd, &address.any, udp_length(&address)));
}

/* The sockets are not bound in the order of their descriptors, and may not share the port any more. */
static void share(int fds[MEMBERS], int family)
{
	const int zero = 0;

	for (int i = 0; i < MEMBERS; i++)
		fds[i] = free_socket(family, SO_REUSEADDR);
	put(fds[SECOND], family, 0);
	put(fds[THIRD], family, udp_port(fds[SECOND]));
	put(fds[FIRST], family, udp_port(fds[SECOND]));
	SYS(setsockopt(fds[THIRD], SOL_SOCKET, SO_REUSEADDR, &zero, sizeof(zero)));
}

static void check_shared(int fds[MEMBERS], int from, const char *what)
{
	static const int order[] = {FIRST, THIRD, SECOND};
	int value;
	socklen_t length = sizeof(value);

	for (int i = 0; i < MEMBERS; i++) {
		SYS(getsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &value, &length));
		CHECK(value == (i != THIRD), "%s: the address may%s be had again by %d", what,
		      value ? "" : " not", i);
	}
	/* one after the other goes */
	for (int i = 0; i < MEMBERS; i++) {
		udp_to(from, "to the last one", fds[order[i]]);
		for (int k = i + 1; k < MEMBERS; k++)
			udp_silent(fds[order[k]], what);
		udp_comes(fds[order[i]], "to the last one", from, what);
		SYS(close(fds[order[i]]));
	}
}

/* Each gets some of many. */
static void check_group(const int fds[2])
{
	int got[2] = {};
	char text[8];

	for (int i = 0; i < DATAGRAMS; i++) {
		int from = udp_bound(AF_INET, 0, 0);

		udp_to(from, "which", fds[0]);
		SYS(close(from));
	}
	for (int i = 0; i < 2; i++)
		while (recv(fds[i], text, sizeof(text), MSG_DONTWAIT) > 0)
			got[i]++;
	CHECK(got[0] + got[1] == DATAGRAMS && got[0] && got[1], "of %d the two got %d and %d", DATAGRAMS,
	      got[0], got[1]);
}

int main(int argc, char **argv)
{
	int fds[MEMBERS], fds6[MEMBERS], group[2], from, from6, late;

	test_init(argc, argv);
	share(fds, AF_INET);
	share(fds6, AF_INET6);
	group[0] = free_socket(AF_INET, SO_REUSEPORT);
	group[1] = free_socket(AF_INET, SO_REUSEPORT);
	put(group[0], AF_INET, 0);
	put(group[1], AF_INET, udp_port(group[0]));
	from = udp_bound(AF_INET, 0, 0);
	from6 = udp_bound(AF_INET6, 0, 0);
	test_daemon();
	test_waitsig();
	check_group(group);
	check_shared(fds, from, "IPv4");
	check_shared(fds6, from6, "IPv6");
	late = free_socket(AF_INET, SO_REUSEPORT);
	put(late, AF_INET, udp_port(group[0]));
	pass();
}
