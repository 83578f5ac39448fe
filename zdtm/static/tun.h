/*
 * Devices of /dev/net/tun in the network namespace of the test, and the files that are attached to them.
 */
#ifndef TUN_H
#define TUN_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zdtm.h"

#define PERSISTENT "zpersist"
#define ROOM	   (1 << 17)
#define QUEUES	   "zqueues"
#define PLAIN	   "ztap"

enum { FREE, FIRST, SECOND, TAP, FILES };

static const unsigned char tun_address[6] = {2, 0x11, 0x22, 0x33, 0x44, 0x55};

static struct ifreq tun_name(const char *name, int flags)
{
	struct ifreq request = {.ifr_flags = flags};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return request;
}

static int tun_attach(const char *name, int flags)
{
	struct ifreq request = tun_name(name, flags);
	int fd = SYS(open("/dev/net/tun", O_RDWR | O_NONBLOCK));

	SYS(ioctl(fd, TUNSETIFF, &request));
	return fd;
}

static void tun_queue(int fd, int flags)
{
	struct ifreq request = {.ifr_flags = flags};

	SYS(ioctl(fd, TUNSETQUEUE, &request));
}

static void tun_up(const char *name, const char *address)
{
	struct ifreq request = tun_name(name, 0);
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
	int fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(address);
	SYS(ioctl(fd, SIOCSIFADDR, &request));
	in->sin_addr.s_addr = inet_addr("255.255.255.0");
	SYS(ioctl(fd, SIOCSIFNETMASK, &request));
	request = tun_name(name, IFF_UP);
	SYS(ioctl(fd, SIOCSIFFLAGS, &request));
	SYS(close(fd));
}

static void tun_make(int files[FILES])
{
	int fd = tun_attach(PERSISTENT, IFF_TUN | IFF_VNET_HDR), header = 12, room = ROOM;
	struct ifreq request = tun_name(PLAIN, 0);

	SYS(ioctl(fd, TUNSETVNETHDRSZ, &header));
	SYS(ioctl(fd, TUNSETOWNER, 5));
	SYS(ioctl(fd, TUNSETGROUP, 6));
	SYS(ioctl(fd, TUNSETPERSIST, 1));
	SYS(close(fd));
	files[FREE] = SYS(open("/dev/net/tun", O_RDWR));
	files[FIRST] = tun_attach(QUEUES, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE);
	files[SECOND] = tun_attach(QUEUES, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE);
	tun_queue(files[SECOND], IFF_DETACH_QUEUE);
	tun_up(QUEUES, "10.91.0.1");
	files[TAP] = tun_attach(PLAIN, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	SYS(ioctl(files[TAP], TUNSETSNDBUF, &room));
	SYS(ioctl(files[TAP], TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4));
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, tun_address, sizeof(tun_address));
	SYS(ioctl(files[TAP], SIOCSIFHWADDR, &request));
}

/* IFF_NOFILTER, which has the number of IFF_NO_PI, is told of whoever has no filter. */
static void tun_is(int fd, const char *name, int flags)
{
	struct ifreq request = {};
	int now;

	SYS(ioctl(fd, TUNGETIFF, &request));
	now = request.ifr_flags & 0xffff;
	CHECK(!strcmp(request.ifr_name, name), "it is %s, was %s", request.ifr_name, name);
	CHECK(now == (flags | IFF_NOFILTER), "%s: flags %#x, were %#x", name, now, flags | IFF_NOFILTER);
}

/* Who reads from the device takes big packets. */
static void tun_offloads(const char *name)
{
	struct ethtool_value can = {.cmd = ETHTOOL_GTSO};
	struct ifreq request = tun_name(name, 0);
	int fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));

	request.ifr_data = (void *)&can;
	SYS(ioctl(fd, SIOCETHTOOL, &request));
	CHECK(can.data, "%s takes no big packets any more", name);
	SYS(close(fd));
}

/* A packet to somebody behind the device comes out of the file. */
static void tun_carries(int fd)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	char text[] = "through the device", packet[256];
	int from = SYS(socket(AF_INET, SOCK_DGRAM, 0)), left = 0;
	const int udp = sizeof(struct iphdr) + 8;

	to.sin_addr.s_addr = inet_addr("10.91.0.7");
	SYS(sendto(from, text, sizeof(text), 0, (struct sockaddr *)&to, sizeof(to)));
	while ((left = read(fd, packet, sizeof(packet))) > 0 && packet[0] >> 4 != 4)
		continue; /* IPv6 says things by itself */
	CHECK(left == udp + (int)sizeof(text) && !memcmp(packet + udp, text, sizeof(text)),
	      "the packet has %d bytes, or others", left);
	SYS(close(from));
}

static void tun_check(int files[FILES])
{
	struct ifreq request = {};
	int fd, header = 0, room = 0;

	CHECK(ioctl(files[FREE], TUNGETIFF, &request) == -1 && errno == EBADFD, "a file got a device");
	tun_is(files[FIRST], QUEUES, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE);
	tun_is(files[SECOND], QUEUES, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_DETACH_QUEUE);
	tun_is(files[TAP], PLAIN, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	SYS(ioctl(files[TAP], TUNGETSNDBUF, &room));
	CHECK(room == ROOM, "the buffer has %d bytes", room);
	tun_offloads(PLAIN);
	tun_carries(files[FIRST]);
	tun_queue(files[SECOND], IFF_ATTACH_QUEUE);
	tun_queue(files[FIRST], IFF_DETACH_QUEUE);
	tun_carries(files[SECOND]);
	request = tun_name(PLAIN, 0);
	SYS(ioctl(files[TAP], TUNGETIFF, &request));
	fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));
	SYS(ioctl(fd, SIOCGIFHWADDR, &request));
	CHECK(!memcmp(request.ifr_hwaddr.sa_data, tun_address, sizeof(tun_address)),
	      "its address is another");
	/* what nobody holds goes, but for what is persistent */
	for (int i = FIRST; i < FILES; i++)
		SYS(close(files[i]));
	CHECK(!if_nametoindex(QUEUES) && !if_nametoindex(PLAIN), "a device became persistent");
	CHECK(if_nametoindex(PERSISTENT), "a persistent device is gone");
	request = tun_name(PERSISTENT, IFF_TUN | IFF_VNET_HDR);
	SYS(ioctl(files[FREE], TUNSETIFF, &request));
	tun_is(files[FREE], PERSISTENT, IFF_TUN | IFF_VNET_HDR | IFF_PERSIST);
	SYS(ioctl(files[FREE], TUNGETVNETHDRSZ, &header));
	CHECK(header == 12, "the header has %d bytes", header);
	SYS(close(fd));
}

#endif
