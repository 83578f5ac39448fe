/*
 * title: UDP sockets that are shut down for receiving, sending, both
 * flavours: host ns userns
 */
#include <poll.h>

#include "udp.h"

enum { RECEIVES, SENDS, NEITHER, SHUT };

static const int shuts[SHUT] = {[RECEIVES] = SHUT_WR, [SENDS] = SHUT_RD, [NEITHER] = SHUT_RDWR};

static short events(int fd)
{
	struct pollfd its = {.fd = fd, .events = POLLIN | POLLRDHUP};

	SYS(poll(&its, 1, 0));
	return its.revents;
}

static void check(int fd, int which, int peer)
{
	static const short wanted[SHUT] = {0, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP | POLLHUP};
	char text[8];

	CHECK(events(fd) == wanted[which], "poll(2) of %d says %#x", which, events(fd));
	udp_to(peer, "in", fd);
	if (which == RECEIVES)
		udp_comes(fd, "in", peer, "who receives");
	if (which == SENDS) {
		SYS(send(fd, "out", 3, 0));
		udp_comes(peer, "out", fd, "the peer");
		udp_comes(fd, "in", peer, "who only sends, and gets what has come");
		CHECK(!recv(fd, text, sizeof(text), 0), "it waits for what cannot come");
	} else {
		CHECK(send(fd, "out", 3, MSG_NOSIGNAL) == -1 && errno == EPIPE, "%d can send: %m", which);
	}
}

int main(int argc, char **argv)
{
	int fds[SHUT], fds6[SHUT], peer, peer6;

	test_init(argc, argv);
	peer = udp_bound(AF_INET, 0, 0);
	peer6 = udp_bound(AF_INET6, 0, 0);
	for (int i = 0; i < SHUT; i++) {
		fds[i] = udp_bound(AF_INET, 0, 0);
		fds6[i] = udp_bound(AF_INET6, 0, 0);
		udp_connect(fds[i], peer);
		udp_connect(fds6[i], peer6);
		SYS(shutdown(fds[i], shuts[i]));
		SYS(shutdown(fds6[i], shuts[i]));
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < SHUT; i++) {
		check(fds[i], i, peer);
		check(fds6[i], i, peer6);
	}
	pass();
}
