/*
 * What getsockopt(2) says of a socket, all of it: what is not as before is named.
 */
#ifndef SOCKOPT_H
#define SOCKOPT_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "zdtm.h"

#ifndef SOL_UDPLITE
#define SOL_UDPLITE 136
#endif

#define SOCKOPT_LEVELS 5
#define SOCKOPT_NAMES  112
#define SOCKOPT_ROOM   64

struct sockopt {
	int length; /* -1: there is none */
	char value[SOCKOPT_ROOM];
};

struct sockopt_all {
	struct sockopt of[SOCKOPT_LEVELS][SOCKOPT_NAMES];
};

static const int sockopt_levels[SOCKOPT_LEVELS] = {SOL_SOCKET, SOL_IP, SOL_IPV6, SOL_UDP, SOL_UDPLITE};

/* Not of the socket, or of this very one, or counted in something else than bytes. */
static inline bool sockopt_passes(int level, int name)
{
	enum { INCOMING_CPU = 49, MEMINFO = 55, NAPI = 56, COOKIE = 57, NETNS_COOKIE = 71 };

	switch (level) {
	case SOL_SOCKET:
		return name == SO_ERROR || name == SO_GET_FILTER || name == INCOMING_CPU || name == MEMINFO ||
		       name == NAPI || name == COOKIE || name == NETNS_COOKIE;
	case SOL_IP: /* of netfilter, and lists of addresses */
	case SOL_IPV6: return (name >= 64 && name < 66) || (name > 80) || name == 41 || name == 48;
	default: return false;
	}
}

static inline void sockopt_ask(int fd, struct sockopt_all *all)
{
	memset(all, 0, sizeof(*all));
	for (int i = 0; i < SOCKOPT_LEVELS; i++)
		for (int name = 0; name < SOCKOPT_NAMES; name++) {
			struct sockopt *its = &all->of[i][name];
			socklen_t length = sizeof(its->value);

			if (sockopt_passes(sockopt_levels[i], name) ||
			    getsockopt(fd, sockopt_levels[i], name, its->value, &length))
				its->length = -1;
			else
				its->length = length;
		}
}

/* Is all of it what it was? */
static inline void sockopt_same(int fd, const struct sockopt_all *before, const char *what)
{
	static struct sockopt_all now;

	sockopt_ask(fd, &now);
	for (int i = 0; i < SOCKOPT_LEVELS; i++)
		for (int name = 0; name < SOCKOPT_NAMES; name++) {
			const struct sockopt *is = &now.of[i][name], *was = &before->of[i][name];

			if (memcmp(is, was, sizeof(*is)))
				fail("%s: option %d of level %d is %d (%d bytes), was %d (%d bytes)", what,
				     name, sockopt_levels[i], *(int *)is->value, is->length,
				     *(int *)was->value, was->length);
		}
}

static inline void sockopt_set(int fd, int level, int name, int value)
{
	CHECK(!setsockopt(fd, level, name, &value, sizeof(value)), "option %d of level %d cannot be %d: %m",
	      name, level, value);
}

#endif
