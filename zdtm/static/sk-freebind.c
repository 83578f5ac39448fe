/*
 * title: sockets that are bound to addresses that are not there, by IP_FREEBIND, which is set or no longer
 * flavours: host ns userns
 */
#include "udp.h"

enum { STILL, NO_LONGER, BOTH };

static const char *const texts[] = {"192.0.2.77", "2001:db8::77"};

static int level(int family)
{
	return family == AF_INET ? SOL_IP : SOL_IPV6;
}

static int option(int family)
{
	return family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND;
}

static void make(int fds[BOTH], int family)
{
	union udp_address address = {.any.sa_family = family};
	void *where = family == AF_INET ? (void *)&address.in.sin_addr : (void *)&address.in6.sin6_addr;

	CHECK(inet_pton(family, texts[family != AF_INET], where) == 1, "inet_pton");
	for (int i = 0; i < BOTH; i++) {
		fds[i] = udp_socket(family, 0);
		SYS(setsockopt(fds[i], level(family), option(family), &(int){1}, sizeof(int)));
		SYS(bind(fds[i], &address.any, udp_length(&address)));
	}
	SYS(setsockopt(fds[NO_LONGER], level(family), option(family), &(int){0}, sizeof(int)));
}

static void check(const int fds[BOTH], const union udp_address before[BOTH], int family)
{
	for (int i = 0; i < BOTH; i++) {
		union udp_address now = udp_name(fds[i]);
		socklen_t length = sizeof(int);
		int value;

		udp_is(&now, &before[i], "an address that is not there");
		SYS(getsockopt(fds[i], level(family), option(family), &value, &length));
		CHECK(value == (i == STILL), "family %d: IP_FREEBIND of %d is %d", family, i, value);
	}
}

int main(int argc, char **argv)
{
	union udp_address before[BOTH], before6[BOTH];
	int fds[BOTH], fds6[BOTH];

	test_init(argc, argv);
	make(fds, AF_INET);
	make(fds6, AF_INET6);
	for (int i = 0; i < BOTH; i++) {
		before[i] = udp_name(fds[i]);
		before6[i] = udp_name(fds6[i]);
	}
	test_daemon();
	test_waitsig();
	check(fds, before, AF_INET);
	check(fds6, before6, AF_INET6);
	pass();
}
