/*
 * title: a socket keeps the SELinux label that its maker had, and nobody labels the next one
 * flavours: host
 * flags: suid
 * needs: selinux
 */
#include "lsm.h"

#include <sys/socket.h>
#include <sys/xattr.h>

static const char current[] = "/proc/self/attr/current", sockcreate[] = "/proc/self/attr/sockcreate";

static const char *socket_label(int fd)
{
	static char text[2][256];
	static int next;
	char *to = text[next++ % 2];

	memset(to, 0, sizeof(text[0]));
	SYS(fgetxattr(fd, "security.selinux", to, sizeof(text[0]) - 1));
	return to;
}

int main(int argc, char **argv)
{
	const char *own, *was, *now, *task;
	char other[300];
	int fd, error;

	test_init(argc, argv);
	/* The same user, role and type with categories of its own. */
	own = label(current);
	CHECK(strlen(own) < 250, "the label is '%s'", own);
	snprintf(other, sizeof(other), "%.*s:s0:c1,c2",
		 (int)(strstr(own, ":s0") ? strstr(own, ":s0") - own : (long)strlen(own)), own);
	error = set_label(current, other);
	if (error)
		skip("the policy does not let '%s' become '%s': %s", own, other, strerror(error));
	task = label(current);
	fd = SYS(socket(AF_INET, SOCK_STREAM, 0));
	was = socket_label(fd);
	CHECK(strstr(was, "c1,c2"), "the socket's label is '%s' from the start", was);
	test_daemon();
	test_waitsig();
	now = socket_label(fd);
	CHECK(!strcmp(now, was), "the socket's label is '%s' instead of '%s'", now, was);
	CHECK(!strcmp(label(current), task), "the task's label is '%s' instead of '%s'", label(current),
	      task);
	CHECK(!*label(sockcreate), "sockets are labelled '%s'", label(sockcreate));
	pass();
}
