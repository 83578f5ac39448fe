/*
 * title: options of UDP sockets that CRIU's images have no place for
 * flavours: host ns userns
 * flags: suid
 */
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <time.h>

#include "sockopt.h"
#include "udp.h"

static struct sockopt_all before[4];

/* What glibc has no names for yet. */
enum {
	PREFER_PUBLIC = 2,
	PORT_RANGE = 51,
	RECVERR_RFC4884 = 26,
	RECVERR_RFC4884_6 = 31,
	RECVMARK = 75,
	NO_CHECK6_TX = 101,
	NO_CHECK6_RX = 102,
	SEGMENT = 103,
	GRO = 104,
};

struct option {
	int level, name, value;
};

static const struct option of_all[] = {
	{SOL_SOCKET, SO_RXQ_OVFL, 1},
	{SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
	{SOL_SOCKET, SO_PEEK_OFF, 3},
	{SOL_SOCKET, SO_ZEROCOPY, 1},
	{SOL_SOCKET, RECVMARK, 1},
	{SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
	{SOL_IP, IP_RECVERR, 1},
	{SOL_IP, IP_RECVTTL, 1},
	{SOL_IP, IP_RECVTOS, 1},
	{SOL_IP, IP_RECVORIGDSTADDR, 1},
	{SOL_IP, IP_MINTTL, 3},
	{SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1},
	{SOL_IP, IP_MULTICAST_TTL, 9},
	{SOL_IP, IP_MULTICAST_LOOP, 0},
	{SOL_IP, IP_MULTICAST_ALL, 0},
	{SOL_IP, RECVERR_RFC4884, 1},
	{SOL_IP, PORT_RANGE, 50000 << 16 | 40000},
	{SOL_UDP, SEGMENT, 700},
	{SOL_UDP, GRO, 1},
};

static const struct option of_4[] = {
	{SOL_SOCKET, SO_TIMESTAMPNS, 1},
	{SOL_IP, IP_TRANSPARENT, 1},
};

static const struct option of_6[] = {
	{SOL_SOCKET, SO_TIMESTAMP, 1},
	{SOL_IP, IP_TOS, 0x10}, /* of what it sends by IPv4 */
	{SOL_IP, IP_TTL, 19},
	{SOL_IP, IP_PKTINFO, 1},
	{SOL_SOCKET, SO_PRIORITY, 2},
	{SOL_IPV6, IPV6_UNICAST_HOPS, 21},
	{SOL_IPV6, IPV6_MULTICAST_HOPS, 22},
	{SOL_IPV6, IPV6_MULTICAST_LOOP, 0},
	{SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE},
	{SOL_IPV6, IPV6_RECVERR, 1},
	{SOL_IPV6, RECVERR_RFC4884_6, 1},
	{SOL_IPV6, IPV6_RECVHOPLIMIT, 1},
	{SOL_IPV6, IPV6_RECVRTHDR, 1},
	{SOL_IPV6, IPV6_RECVHOPOPTS, 1},
	{SOL_IPV6, IPV6_RECVDSTOPTS, 1},
	{SOL_IPV6, IPV6_RECVPATHMTU, 1},
	{SOL_IPV6, IPV6_DONTFRAG, 1},
	{SOL_IPV6, IPV6_RECVTCLASS, 1},
	{SOL_IPV6, IPV6_TCLASS, 0x28},
	{SOL_IPV6, IPV6_AUTOFLOWLABEL, 0},
	{SOL_IPV6, IPV6_ADDR_PREFERENCES, PREFER_PUBLIC},
	{SOL_IPV6, IPV6_MINHOPCOUNT, 4},
	{SOL_IPV6, IPV6_RECVORIGDSTADDR, 1},
	{SOL_IPV6, IPV6_TRANSPARENT, 1},
	{SOL_UDP, NO_CHECK6_TX, 1},
	{SOL_UDP, NO_CHECK6_RX, 1},
};

#define SET(fd, table) set(fd, table, sizeof(table) / sizeof(*(table)))

static void set(int fd, const struct option *its, size_t count)
{
	for (; count--; its++)
		sockopt_set(fd, its->level, its->name, its->value);
}

int main(int argc, char **argv)
{
	const struct sock_filter all = {BPF_RET | BPF_K, 0, 0, 0xffff};
	const struct sock_fprog program = {1, (struct sock_filter *)&all};
	const char padding[] = {1, 1, 1, 0};
	const struct timespec stamps = {SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE, 0};
	const int stamped = stamps.tv_sec, none = -1;
	int fds[4];

	test_init(argc, argv);
	for (int i = 0; i < 4; i++)
		fds[i] = udp_socket(i % 2 ? AF_INET6 : AF_INET, 0);
	SET(fds[0], of_all);
	SET(fds[0], of_4);
	SET(fds[1], of_all);
	SET(fds[1], of_6);
	/* only by who has capabilities outside, too */
	setsockopt(fds[3], SOL_SOCKET, SO_PREFER_BUSY_POLL, &(int){1}, sizeof(int));
	SYS(setsockopt(fds[0], SOL_IP, IP_OPTIONS, padding, sizeof(padding)));
	SYS(setsockopt(fds[0], SOL_IP, IP_UNICAST_IF, &(int){htonl(if_nametoindex("lo"))}, sizeof(int)));
	sockopt_set(fds[1], SOL_IPV6, IPV6_MULTICAST_IF, if_nametoindex("lo"));
	SYS(setsockopt(fds[2], SOL_SOCKET, SO_TIMESTAMPING, &stamped, sizeof(stamped)));
	SYS(setsockopt(fds[2], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	sockopt_set(fds[2], SOL_SOCKET, SO_LOCK_FILTER, 1);
	for (int i = 0; i < 4; i++)
		sockopt_ask(fds[i], &before[i]);
	test_daemon();
	test_waitsig();
	sockopt_same(fds[0], &before[0], "IPv4");
	sockopt_same(fds[1], &before[1], "IPv6");
	sockopt_same(fds[2], &before[2], "with a filter");
	sockopt_same(fds[3], &before[3], "nothing was set");
	CHECK(setsockopt(fds[2], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)) == -1 && errno == EPERM,
	      "a locked filter can be detached");
	pass();
}
