/*
 * title: a device that carries IPv6 in IPv4 has the ends and the lifetime of packets that it had
 * flavours: ns userns
 * flags: suid
 */
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_tunnel.h>
#include <linux/ip.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zdtm.h"

#define NAME "zsit"

static int index_of(int fd)
{
	struct ifreq request = {.ifr_name = NAME};

	SYS(ioctl(fd, SIOCGIFINDEX, &request));
	return request.ifr_ifindex;
}

int main(int argc, char **argv)
{
	struct ip_tunnel_parm was = {.name = NAME, .iph = {.version = 4, .ihl = 5, .ttl = 8}}, now = {};
	struct ifreq request = {.ifr_name = "sit0", .ifr_data = (void *)&was};
	int fd, index;

	test_init(argc, argv);
	was.iph.protocol = IPPROTO_IPV6;
	was.iph.saddr = inet_addr("10.8.4.1");
	was.iph.daddr = inet_addr("10.8.4.2");
	was.iph.frag_off = htons(0x4000); /* an own lifetime of packets goes with this only */
	fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));
	if (ioctl(fd, SIOCADDTUNNEL, &request)) {
		CHECK(errno == ENODEV, "SIOCADDTUNNEL: %m");
		skip("this kernel has no sit devices");
	}
	index = index_of(fd);
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));
	strcpy(request.ifr_name, NAME);
	request.ifr_data = (void *)&now;
	SYS(ioctl(fd, SIOCGETTUNNEL, &request));
	CHECK(index_of(fd) == index, "its index is %d, was %d", index_of(fd), index);
	CHECK(now.iph.saddr == was.iph.saddr && now.iph.daddr == was.iph.daddr, "its ends are others");
	CHECK(now.iph.ttl == was.iph.ttl, "packets live %d hops, did %d", now.iph.ttl, was.iph.ttl);
	CHECK(now.iph.frag_off == was.iph.frag_off, "packets may be fragmented, or no longer");
	pass();
}
