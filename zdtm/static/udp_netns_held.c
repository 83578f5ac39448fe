/*
 * title: UDP sockets of a network namespace that nothing but they keep
 * flavours: host ns userns
 * flags: suid
 */
#include "udp_netns.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	udp_netns(true);
}
