/*
 * title: UDP-Lite sockets, with what their checksums cover
 * flavours: host ns userns
 */
#include "socket_udp.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	socket_udp(AF_INET, IPPROTO_UDPLITE);
}
