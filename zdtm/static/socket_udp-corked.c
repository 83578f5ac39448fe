/*
 * title: a UDP socket with a datagram that is not complete is refused, and complete afterwards
 * flavours: host ns userns
 * flags: crfail
 */
#include "udp.h"

int main(int argc, char **argv)
{
	union udp_address address;
	int from, to;

	test_init(argc, argv);
	from = udp_bound(AF_INET, 0, 0);
	to = udp_bound(AF_INET, 0, 0);
	address = udp_name(to);
	SYS(sendto(from, "one ", 4, MSG_MORE, &address.any, udp_length(&address)));
	test_daemon();
	test_waitsig();
	udp_silent(to, "the receiver");
	udp_to(from, "datagram", to);
	udp_comes(to, "one datagram", from, "the receiver");
	pass();
}
