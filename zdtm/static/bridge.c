/*
 * title: a bridge without ports keeps its addresses, and a socket bound to one by its index
 * flavours: ns userns
 * flags: suid
 */
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "zdtm.h"

#define NAME "zbr0"

static const char text[] = "to the bridge";

/* An address that need not be looked for duplicates of: valid at once, and with no carrier. */
static void give(int index, const struct in6_addr *address)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg body;
		struct rtattr attribute;
		struct in6_addr address;
	} ask = {
		.head = {.nlmsg_len = sizeof(ask), .nlmsg_type = RTM_NEWADDR},
		.body = {.ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = index},
		.attribute = {.rta_len = RTA_LENGTH(sizeof(*address)), .rta_type = IFA_ADDRESS},
		.address = *address,
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
	} answer;
	int fd = SYS(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));

	ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
	ask.body.ifa_flags = IFA_F_NODAD;
	SYS(send(fd, &ask, sizeof(ask), 0));
	SYS(recv(fd, &answer, sizeof(answer), 0));
	errno = -answer.error.error;
	CHECK(answer.head.nlmsg_type == NLMSG_ERROR && !errno, "RTM_NEWADDR: %m");
	SYS(close(fd));
}

static void make_bridge(int fd)
{
	struct ifreq up = {.ifr_name = NAME, .ifr_flags = IFF_UP};

	SYS(ioctl(fd, SIOCBRADDBR, NAME));
	SYS(ioctl(fd, SIOCSIFFLAGS, &up));
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(4321)}, now = {};
	socklen_t length = sizeof(now);
	char got[sizeof(text)] = {};
	int fd, other;

	test_init(argc, argv);
	fd = SYS(socket(AF_INET6, SOCK_DGRAM, 0));
	CHECK(inet_pton(AF_INET6, "fe80::4711", &address.sin6_addr) == 1, "inet_pton");
	make_bridge(fd);
	address.sin6_scope_id = if_nametoindex(NAME);
	give(address.sin6_scope_id, &address.sin6_addr);
	SYS(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	test_daemon();
	test_waitsig();
	CHECK(if_nametoindex(NAME) == address.sin6_scope_id, "the bridge has the index %u, had %u",
	      if_nametoindex(NAME), address.sin6_scope_id);
	SYS(getsockname(fd, (struct sockaddr *)&now, &length));
	CHECK(!memcmp(&now, &address, sizeof(now)), "the socket is bound to something else");
	other = SYS(socket(AF_INET6, SOCK_DGRAM, 0));
	SYS(sendto(other, text, sizeof(text), 0, (struct sockaddr *)&address, sizeof(address)));
	CHECK(recv(fd, got, sizeof(got), MSG_DONTWAIT) == sizeof(text) && !strcmp(got, text),
	      "what was sent to the bridge did not come");
	pass();
}
