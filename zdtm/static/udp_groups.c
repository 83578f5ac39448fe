/*
 * title: UDP sockets in multicast groups, of all senders, some, all but some
 * flavours: host ns userns
 */
#include <net/if.h>

#include "udp.h"

enum { ALL, SOME, BUT, OUT, MEMBERS };

static const char *const groups[] = {"239.1.2.3", "ff01::4711"};
static const char *const senders[][2] = {{"10.1.1.1", "10.1.1.2"}, {"2001:db8::1", "2001:db8::2"}};

static void put(struct sockaddr_storage *to, int family, const char *text)
{
	union udp_address address = {.any.sa_family = family};
	void *where = family == AF_INET ? (void *)&address.in.sin_addr : (void *)&address.in6.sin6_addr;

	CHECK(inet_pton(family, text, where) == 1, "inet_pton");
	memset(to, 0, sizeof(*to));
	memcpy(to, &address, sizeof(address));
}

static int level(int family)
{
	return family == AF_INET ? SOL_IP : SOL_IPV6;
}

static void make(int fds[MEMBERS], int family, int lo)
{
	struct group_source_req source = {.gsr_interface = lo};
	struct group_req all = {.gr_interface = lo};

	put(&all.gr_group, family, groups[family != AF_INET]);
	source.gsr_group = all.gr_group;
	for (int i = 0; i < MEMBERS; i++) {
		fds[i] = udp_socket(family, 0);
		if (i == ALL || i == BUT)
			SYS(setsockopt(fds[i], level(family), MCAST_JOIN_GROUP, &all, sizeof(all)));
		for (int k = 0; k < 2 && (i == SOME || i == BUT); k++) {
			put(&source.gsr_source, family, senders[family != AF_INET][k]);
			SYS(setsockopt(fds[i], level(family),
				       i == SOME ? MCAST_JOIN_SOURCE_GROUP : MCAST_BLOCK_SOURCE, &source,
				       sizeof(source)));
		}
	}
}

static void check(const int fds[MEMBERS], int family, int lo)
{
	union {
		struct group_filter filter;
		char room[GROUP_FILTER_SIZE(4)];
	} now;
	struct sockaddr_storage sender;

	for (int i = 0; i < MEMBERS; i++) {
		socklen_t length = sizeof(now);
		uint32_t count = i == SOME || i == BUT ? 2 : 0;
		int ret;

		memset(&now, 0, sizeof(now));
		now.filter.gf_interface = lo;
		now.filter.gf_numsrc = 4;
		put(&now.filter.gf_group, family, groups[family != AF_INET]);
		ret = getsockopt(fds[i], level(family), MCAST_MSFILTER, &now, &length);
		CHECK(!ret == (i != OUT), "family %d: socket %d is%s in the group", family, i,
		      ret ? " not" : "");
		if (i == OUT)
			continue;
		CHECK(now.filter.gf_numsrc == count && now.filter.gf_fmode == (i == SOME),
		      "%d: %u senders, mode %u", i, now.filter.gf_numsrc, now.filter.gf_fmode);
		for (uint32_t k = 0; k < count; k++) {
			put(&sender, family, senders[family != AF_INET][k]);
			CHECK(!memcmp(&now.filter.gf_slist[k], &sender, sizeof(union udp_address)),
			      "family %d: sender %u is another", family, k);
		}
	}
}

int main(int argc, char **argv)
{
	int fds[MEMBERS], fds6[MEMBERS], lo;

	test_init(argc, argv);
	lo = if_nametoindex("lo");
	make(fds, AF_INET, lo);
	make(fds6, AF_INET6, lo);
	test_daemon();
	test_waitsig();
	check(fds, AF_INET, lo);
	check(fds6, AF_INET6, lo);
	pass();
}
