/*
 * title: datagram sockets: names, peers, what waits, how they are shut down
 * flavours: host ns userns
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "unix.h"

#define BIG 100000 /* bytes */

static char abstract[64];

static int connected(const char *name)
{
	int fd = unix_socket("");

	SYS(unix_connect(fd, name));
	return fd;
}

static void pair(int fds[2])
{
	SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
}

static void check_file(const char *path)
{
	struct stat st;

	SYS(lstat(path, &st));
	CHECK(st.st_mode == (S_IFSOCK | 0620) && st.st_uid == geteuid(), "%s is %o of %u", path, st.st_mode,
	      st.st_uid);
}

int main(int argc, char **argv)
{
	int server, clients[2], absolute, relative, gone, to_gone, lonely, self, ends[2], shut[2];
	char *big = malloc(BIG), *again = malloc(BIG);
	const char *path;
	uint32_t *words;
	struct stat st;
	pid_t kid;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	path = test_path("absolute");
	snprintf(abstract, sizeof(abstract), "@zdtm unix_dgram %d", getpid());
	server = unix_socket(abstract);
	SYS(fcntl(server, F_SETOWN, getpid()));
	SYS(fcntl(server, F_SETSIG, SIGWINCH));
	absolute = unix_socket(path);
	SYS(chmod(path, 0620));
	relative = unix_socket("relative");
	gone = unix_socket("gone");
	to_gone = connected("gone");
	unix_send(to_gone, "wait");
	SYS(unlink("gone"));
	lonely = unix_socket("");
	self = unix_socket("self");
	SYS(unix_connect(self, "self"));
	for (int i = 0; i < 2; i++)
		clients[i] = connected(abstract);
	unix_send(clients[0], "one");
	unix_send(clients[1], "two");
	unix_send(clients[0], "three");
	pair(ends);
	SYS(fcntl(ends[1], F_SETFL, O_NONBLOCK));
	test_fill(big, BIG, 1);
	SYS(send(ends[0], big, BIG, 0));
	unix_send(ends[0], "after");
	unix_send(ends[1], "back");
	SYS(unix_connect(relative, "absolute"));
	pair(shut);
	unix_send(shut[1], "before");
	SYS(shutdown(shut[0], SHUT_RD));
	SYS(shutdown(shut[1], SHUT_RD));
	SYS(shutdown(shut[1], SHUT_WR));
	kid = SYS(fork());
	if (!kid) {
		SYS(close(clients[1]));
		test_post(words);
		test_await(words + 1, 1);
		unix_send(clients[0], "of the child");
		SYS(fcntl(clients[0], F_SETFL, O_NONBLOCK));
		_exit(0);
	}
	test_await(words, 1);

	test_daemon();
	test_waitsig();
	test_post(words + 1);
	test_reap(kid);
	CHECK(SYS(fcntl(clients[0], F_GETFL)) & O_NONBLOCK, "the child has another description");
	unix_own(server, abstract);
	CHECK(SYS(fcntl(server, F_GETOWN)) == getpid() && SYS(fcntl(server, F_GETSIG)) == SIGWINCH,
	      "its owner is %d", fcntl(server, F_GETOWN));
	unix_next(server, "one", NULL);
	unix_next(server, "two", NULL);
	unix_next(server, "three", NULL);
	unix_next(server, "of the child", NULL);
	unix_empty(server);
	for (int i = 0; i < 2; i++)
		unix_peer(clients[i], abstract);
	unix_send(clients[1], "again");
	unix_next(server, "again", "");

	unix_own(absolute, path);
	unix_own(relative, "relative");
	unix_peer(relative, path);
	check_file("absolute");
	SYS(lstat("relative", &st));
	CHECK(S_ISSOCK(st.st_mode), "relative is %o", st.st_mode);
	unix_send(relative, "to the path");
	unix_next(absolute, "to the path", "relative");
	unix_send(connected("absolute"), "found");
	unix_next(absolute, "found", "");
	CHECK(unix_connect(lonely, "relative") == -1 && errno == EPERM, "who has a peer takes others (%m)");

	CHECK(lstat("gone", &st) == -1 && errno == ENOENT, "a name that was removed is back");
	unix_own(gone, "gone");
	unix_peer(to_gone, "gone");
	unix_next(gone, "wait", "");
	unix_send(to_gone, "still");
	unix_next(gone, "still", "");
	CHECK(unix_connect(lonely, "gone") == -1 && errno == ENOENT, "it is there by its name (%m)");

	unix_own(lonely, "");
	CHECK(send(lonely, "", 1, 0) == -1 && errno == ENOTCONN, "it has got a peer (%m)");
	unix_send(self, "to itself");
	unix_next(self, "to itself", "self");

	CHECK(SYS(fcntl(ends[1], F_GETFL)) == (O_RDWR | O_NONBLOCK), "O_NONBLOCK is lost");
	CHECK(SYS(fcntl(ends[0], F_GETFL)) == O_RDWR, "flags have come up");
	CHECK(recv(ends[1], again, BIG, MSG_TRUNC) == BIG && test_differs(again, BIG, 1) < 0,
	      "big is another");
	unix_next(ends[1], "after", "");
	unix_empty(ends[1]);
	unix_next(ends[0], "back", "");
	unix_empty(ends[0]);
	unix_send(ends[0], "there");
	unix_next(ends[1], "there", "");

	unix_next(shut[0], "before", "");
	CHECK(send(shut[0], "", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a reader that is shut down (%m)");
	CHECK(send(shut[1], "", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a writer that is shut down (%m)");
	pass();
}
