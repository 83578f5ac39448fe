/*
 * title: tun and tap devices of a network namespace in the tree; a file that stayed in that of the first task
 * flavours: ns userns
 * flags: suid
 * needs: tun tun_ns
 */
#include <sched.h>

#include "tun.h"

int main(int argc, char **argv)
{
	struct ifreq request = {.ifr_name = "zfirst", .ifr_flags = IFF_TUN};
	int files[FILES], before;

	test_init(argc, argv);
	before = SYS(open("/dev/net/tun", O_RDWR));
	SYS(unshare(CLONE_NEWNET));
	tun_make(files);
	test_daemon();
	test_waitsig();
	/* a device is made in the namespace where its file was opened */
	SYS(ioctl(before, TUNSETIFF, &request));
	CHECK(!if_nametoindex("zfirst"), "a file has changed its network namespace");
	tun_check(files);
	pass();
}
