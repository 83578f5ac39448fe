/*
 * title: datagrams that wait, and their senders; peers that are closed; names that are gone
 * flavours: host ns userns
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "unix.h"

static char server_name[64], client_name[64];

/* From somebody who is closed then; `is_left`: the name stays. */
static void send_closed(const char *name, const char *text, bool is_left)
{
	int fd = unix_socket(name);

	unix_send_to(fd, text, server_name);
	SYS(close(fd));
	if (*name && *name != '@' && !is_left)
		SYS(unlink(name));
}

static void empty(int fd)
{
	SYS(send(fd, "", 0, MSG_DONTWAIT));
}

int main(int argc, char **argv)
{
	int server, client, late, orphan, to_closed, ends[2], left_alone[2], away[2], home, deep, to_deep,
		older, to_older, newer, dup;
	ino_t left;
	struct stat st;

	test_init(argc, argv);
	snprintf(server_name, sizeof(server_name), "@zdtm unix_senders %d", getpid());
	snprintf(client_name, sizeof(client_name), "@zdtm unix_senders client %d", getpid());
	server = unix_socket(server_name);
	client = unix_socket("client");
	send_closed("", "from nobody", false);
	send_closed("gone", "from gone", false);
	send_closed("left", "from left", true);
	send_closed(client_name, "from abstract", false);
	SYS(unix_connect(client, server_name));
	unix_send(client, "from client");
	empty(client);
	SYS(unix_connect(server, "client"));
	/* now it takes nothing from others, and from that one more than net.unix.max_dgram_qlen */
	for (int i = 0; i < 20; i++)
		unix_send(client, "more");
	SYS(stat("left", &st));
	left = st.st_ino;

	SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)); /* the other end is closed */
	empty(ends[1]);
	unix_send(ends[1], "kept");
	empty(ends[1]);
	SYS(close(ends[1]));
	orphan = ends[0];
	late = unix_socket("late");
	to_closed = unix_socket("");
	SYS(unix_connect(to_closed, "late"));
	SYS(close(late));
	SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, left_alone)); /* one has no peer by now, or another */
	SYS(connect(left_alone[1], &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
	unix_send(left_alone[0], "to one who left");
	SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, away));
	home = unix_socket("home");
	SYS(unix_connect(away[1], "home"));

	SYS(mkdir("dir", 0755));
	SYS(mkdir("dir/sub", 0755));
	SYS(chdir("dir"));
	deep = unix_socket("sub/../sub/deep");
	SYS(chdir(".."));
	to_deep = unix_socket("");
	SYS(unix_connect(to_deep, "dir/sub/deep"));
	SYS(unlink("dir/sub/deep"));
	SYS(rmdir("dir/sub"));
	SYS(rmdir("dir"));
	older = unix_socket("same"); /* three have this name, the last one is there */
	to_older = unix_socket("");
	SYS(unix_connect(to_older, "same"));
	SYS(unlink("same"));
	dup = unix_socket("same");
	SYS(unlink("same"));
	newer = unix_socket("same");

	test_daemon();
	test_waitsig();
	unix_own(server, server_name);
	unix_peer(server, "client");
	unix_next(server, "from nobody", "");
	unix_next(server, "from gone", "gone");
	unix_next(server, "from left", "left");
	unix_next(server, "from abstract", client_name);
	unix_next(server, "from client", "client");
	unix_next(server, "", "client");
	for (int i = 0; i < 20; i++)
		unix_next(server, "more", "client");
	unix_empty(server);
	unix_send(client, "goes on");
	unix_next(server, "goes on", "client");
	unix_send(server, "back");
	unix_next(client, "back", server_name);
	CHECK(lstat("gone", &st) == -1 && errno == ENOENT, "gone is back (%m)");
	SYS(lstat("left", &st));
	CHECK(st.st_ino == left, "left is another file");

	unix_next(orphan, "", "");
	unix_next(orphan, "kept", "");
	unix_next(orphan, "", "");
	unix_empty(orphan);
	unix_peer(orphan, "");
	CHECK(send(orphan, "", 1, 0) == -1 && errno == ECONNREFUSED, "its peer is not closed (%m)");
	CHECK(send(orphan, "", 1, 0) == -1 && errno == ENOTCONN, "it has a peer still (%m)");
	unix_peer(to_closed, "late");
	CHECK(send(to_closed, "", 1, 0) == -1 && errno == ECONNREFUSED, "its peer is not closed (%m)");
	SYS(lstat("late", &st));
	unix_next(left_alone[1], "to one who left", "");
	unix_empty(left_alone[1]);
	unix_peer(left_alone[0], "");
	unix_send(left_alone[0], "there");
	unix_next(left_alone[1], "there", "");
	CHECK(send(left_alone[1], "", 1, 0) == -1 && errno == ENOTCONN, "it has got a peer (%m)");
	unix_peer(away[1], "home");
	unix_send(away[1], "at home");
	unix_next(home, "at home", "");
	unix_peer(away[0], "");
	CHECK(send(away[0], "", 1, 0) == -1 && errno == EPERM, "its peer listens to it (%m)");

	CHECK(lstat("dir", &st) == -1 && errno == ENOENT, "a directory that was removed is back");
	unix_own(deep, "sub/../sub/deep");
	unix_peer(to_deep, "sub/../sub/deep");
	unix_send(to_deep, "below");
	unix_next(deep, "below", "");
	unix_own(dup, "same");
	unix_send(to_older, "to the first");
	unix_next(older, "to the first", "");
	unix_send_to(to_closed, "to the last", "same");
	unix_next(newer, "to the last", "");
	pass();
}
