/*
 * title: options of UDP sockets, those that CRIU's images have: all that getsockopt(2) tells is as before
 * flavours: host ns userns
 * flags: suid
 */
#include <linux/filter.h>
#include <sys/time.h>

#include "sockopt.h"
#include "udp.h"

enum { RECEIVING = 2 }; /* SOCK_RCVBUF_LOCK (linux/socket.h) */
enum { PLAIN, PLAIN6, SET, SET6, OPTION_SOCKETS };

static struct sockopt_all before[OPTION_SOCKETS];

/* The length is at an offset that all datagrams have: longer ones are cut to eight bytes and two. */
static struct sock_filter cutting[] = {
	{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0},
	{BPF_JMP | BPF_JGT | BPF_K, 0, 1, 8 + 4},
	{BPF_RET | BPF_K, 0, 0, 8 + 2},
	{BPF_RET | BPF_K, 0, 0, 0xffff},
};

static void set(int fd, int family)
{
	static const int flags[] = {SO_REUSEADDR, SO_REUSEPORT, SO_DONTROUTE, SO_NO_CHECK,
				    SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE};
	const struct sock_fprog program = {sizeof(cutting) / sizeof(*cutting), cutting};
	const struct timeval receiving = {3, 52000}, sending = {100000, 0};
	const struct linger linger = {1, 7};

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		sockopt_set(fd, SOL_SOCKET, flags[i], 1);
	if (family == AF_INET) { /* which sets a priority too */
		sockopt_set(fd, SOL_IP, IP_TOS, 0x10);
		sockopt_set(fd, SOL_IP, IP_TTL, 33);
	}
	sockopt_set(fd, SOL_SOCKET, SO_PRIORITY, 4);
	sockopt_set(fd, SOL_SOCKET, SO_RCVLOWAT, 5);
	sockopt_set(fd, SOL_SOCKET, SO_MARK, 0x7fffff01);
	sockopt_set(fd, SOL_SOCKET, SO_SNDBUF, 6001);
	sockopt_set(fd, SOL_SOCKET, SO_RCVBUF, 7001);
	sockopt_set(fd, SOL_SOCKET, SO_BUF_LOCK, RECEIVING);
	SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receiving, sizeof(receiving)));
	SYS(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &sending, sizeof(sending)));
	SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	SYS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
	SYS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	if (family == AF_INET) {
		sockopt_set(fd, SOL_IP, IP_PKTINFO, 1);
		sockopt_set(fd, SOL_IP, IP_FREEBIND, 1);
	} else {
		sockopt_set(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
		sockopt_set(fd, SOL_IPV6, IPV6_FREEBIND, 1);
		sockopt_set(fd, SOL_IPV6, IPV6_V6ONLY, 1);
	}
}

static void check_filter(int fd, int from)
{
	struct sock_filter now[8] = {};
	socklen_t count = sizeof(now) / sizeof(*now);

	SYS(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, now, &count));
	CHECK(count == sizeof(cutting) / sizeof(*cutting) && !memcmp(now, cutting, sizeof(cutting)),
	      "the filter has %u instructions, or others", count);
	udp_to(from, "long enough", fd);
	udp_comes(fd, "lo", from, "who has a filter");
}

int main(int argc, char **argv)
{
	int fds[OPTION_SOCKETS], from, from6, none = -1;
	struct sock_filter room[8];
	socklen_t count = 8;

	test_init(argc, argv);
	fds[PLAIN] = udp_socket(AF_INET, 0);
	fds[PLAIN6] = udp_bound(AF_INET6, 0, 0);
	fds[SET] = udp_socket(AF_INET, 0);
	fds[SET6] = udp_socket(AF_INET6, 0);
	from = udp_bound(AF_INET, 0, 0);
	from6 = udp_bound(AF_INET6, 0, 0);
	for (int i = SET; i <= SET6; i++) {
		union udp_address any = udp_loopback(i == SET ? AF_INET : AF_INET6, 0);

		set(fds[i], any.any.sa_family);
		SYS(bind(fds[i], &any.any, udp_length(&any)));
	}
	for (int i = 0; i < OPTION_SOCKETS; i++)
		sockopt_ask(fds[i], &before[i]);
	test_daemon();
	test_waitsig();
	sockopt_same(fds[PLAIN], &before[PLAIN], "nothing was set");
	sockopt_same(fds[PLAIN6], &before[PLAIN6], "nothing was set, IPv6");
	sockopt_same(fds[SET], &before[SET], "IPv4");
	sockopt_same(fds[SET6], &before[SET6], "IPv6");
	check_filter(fds[SET], from);
	check_filter(fds[SET6], from6);
	SYS(setsockopt(fds[SET], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)));
	SYS(getsockopt(fds[PLAIN], SOL_SOCKET, SO_GET_FILTER, room, &count));
	CHECK(!count, "who had no filter has one");
	pass();
}
