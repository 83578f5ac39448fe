/*
 * title: unix sockets in a network namespace that nobody is in; a peer by its path in another one
 * flavours: ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <sched.h>

#include "unix.h"

int main(int argc, char **argv)
{
	int own, server, client, path, other;

	test_init(argc, argv);
	own = SYS(open("/proc/self/ns/net", O_RDONLY));
	SYS(unshare(CLONE_NEWNET));
	server = unix_socket("@server");
	client = unix_socket("");
	SYS(unix_connect(client, "@server"));
	path = unix_socket("path");
	SYS(setns(own, CLONE_NEWNET));
	SYS(close(own));
	other = unix_socket("other");
	SYS(unix_connect(other, "path"));
	unix_send(other, "across");
	unix_send(client, "there");

	test_daemon();
	test_waitsig();
	unix_next(server, "there", "");
	unix_send(client, "again");
	unix_next(server, "again", "");
	unix_next(path, "across", "other");
	unix_send_to(server, "found", "path");
	unix_next(path, "found", "@server");
	CHECK(unix_connect(unix_socket(""), "@server") == -1 && errno == ECONNREFUSED,
	      "it is there in another namespace (%m)");
	CHECK(unix_connect(other, "@server") == -1 && errno == ECONNREFUSED,
	      "it is in another namespace (%m)");
	unix_socket("@server");
	pass();
}
