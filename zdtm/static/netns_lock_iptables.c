/*
 * title: from the dump to the restore nothing passes in the network namespace, but what has the mark
 * flavours: host
 * flags: suid
 * dump: --network-lock iptables
 */
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zdtm.h"

int main(int argc, char **argv)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	test_init(argc, argv);
	SYS(unshare(CLONE_NEWNET));
	fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));
	SYS(ioctl(fd, SIOCSIFFLAGS, &up));
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	pass();
}
