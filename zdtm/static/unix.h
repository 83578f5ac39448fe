/* Sockets of AF_UNIX by their names. */
#ifndef UNIX_H
#define UNIX_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "zdtm.h"

struct unix_name {
	struct sockaddr_un at;
	socklen_t length;
};

/* A path, or with '@' for the first character an abstract name; "" is none. */
static inline struct unix_name unix_name(const char *text)
{
	struct unix_name name = {.at.sun_family = AF_UNIX, .length = offsetof(struct sockaddr_un, sun_path)};
	size_t length = strlen(text);

	CHECK(length < sizeof(name.at.sun_path), "'%s' is too long a name", text);
	memcpy(name.at.sun_path, text, length);
	name.length += length + (length && *text != '@');
	if (*text == '@')
		name.at.sun_path[0] = 0;
	return name;
}

static inline int unix_socket(const char *text)
{
	struct unix_name name = unix_name(text);
	int fd = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));

	if (*text)
		SYS(bind(fd, (struct sockaddr *)&name.at, name.length));
	return fd;
}

static inline int unix_connect(int fd, const char *text)
{
	struct unix_name name = unix_name(text);

	return connect(fd, (struct sockaddr *)&name.at, name.length);
}

/* Its own name, or its peer's. */
static inline void unix_check_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *), const char *text)
{
	struct unix_name expected = unix_name(text), name = {.length = sizeof(name.at)};

	SYS(get(fd, (struct sockaddr *)&name.at, &name.length));
	CHECK(name.length == expected.length && !memcmp(&name.at, &expected.at, name.length),
	      "socket %d: the name '%s' has become %u bytes of '%s'", fd, text, name.length,
	      name.at.sun_path + !name.at.sun_path[0]);
}

static inline void unix_own(int fd, const char *text)
{
	unix_check_name(fd, getsockname, text);
}

static inline void unix_peer(int fd, const char *text)
{
	unix_check_name(fd, getpeername, text);
}

/* The next datagram, and who has sent it: NULL where that is not looked at. */
static inline void unix_next(int fd, const char *text, const char *sender)
{
	struct unix_name from = {.length = sizeof(from.at)}, expected = unix_name(sender ? sender : "");
	char data[64];
	ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from.at, &from.length);

	CHECK(n == (ssize_t)strlen(text) && !memcmp(data, text, n), "socket %d: not '%s', but '%.*s' (%m)",
	      fd, text, n < 0 ? 0 : (int)n, data);
	if (!sender)
		return;
	if (!*sender)
		expected.length = 0;
	CHECK(from.length == expected.length && !memcmp(&from.at, &expected.at, from.length),
	      "socket %d: '%s' is not from '%s', but from %u bytes", fd, text, sender, from.length);
}

static inline void unix_empty(int fd)
{
	char byte;

	CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "socket %d: there is more", fd);
}

static inline void unix_send(int fd, const char *text)
{
	SYS(send(fd, text, strlen(text), MSG_DONTWAIT));
}

static inline void unix_send_to(int fd, const char *text, const char *to)
{
	struct unix_name name = unix_name(to);

	SYS(sendto(fd, text, strlen(text), MSG_DONTWAIT, (struct sockaddr *)&name.at, name.length));
}

/* Who sends to that name from here reaches this socket. */
static inline void unix_reached(int fd, const char *name, const char *text)
{
	unix_own(fd, name);
	unix_send_to(unix_socket(""), text, name);
	unix_next(fd, text, "");
	unix_empty(fd);
}

#endif
