/*
 * title: IPv4 UDP sockets: bound, connected, neither, no longer; who sends to whom is told as before
 * flavours: host ns userns
 */
#include "socket_udp.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	socket_udp(AF_INET, 0);
}
