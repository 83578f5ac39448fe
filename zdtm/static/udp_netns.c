/*
 * title: UDP sockets of several network namespaces, one of which a task has brought along
 * flavours: ns userns
 * flags: suid
 */
#include "udp_netns.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	udp_netns(false);
}
