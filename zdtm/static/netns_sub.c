/*
 * title: abstract sockets are heard in the network namespace where they are bound
 * flavours: ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "child.h"

#define SPACES 3 /* with that of the first task, whose number is 0 */

static struct sockaddr_un name_of(int space, socklen_t *length)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "zdtm netns_sub %d", space);

	*length = offsetof(struct sockaddr_un, sun_path) + 1 + n;
	return address;
}

static void bound(int space)
{
	socklen_t length;
	struct sockaddr_un address = name_of(space, &length);
	int fd = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));

	SYS(bind(fd, (struct sockaddr *)&address, length));
}

/* Who is in `space` reaches the socket of that one and no other's. */
static void look(int space, int fd)
{
	socklen_t length;

	for (int other = 0; other < SPACES; other++) {
		struct sockaddr_un address = name_of(other, &length);
		int ret = connect(fd, (struct sockaddr *)&address, length);

		if (other == space)
			CHECK(!ret, "the socket of namespace %d is not there: %m", space);
		else
			CHECK(ret && errno == ECONNREFUSED, "namespace %d reaches the socket of %d", space,
			      other);
	}
}

static ino_t inode(const char *path)
{
	struct stat st;

	SYS(stat(path, &st));
	return st.st_ino;
}

/*
 * The last one leaves a child where it has been, and comes back to where it was born; its sockets stay where
 * they were made.
 */
static void kid(int space, int back)
{
	int before = SYS(socket(AF_UNIX, SOCK_DGRAM, 0)), inside, now = space;
	pid_t left = 0;

	SYS(unshare(CLONE_NEWNET));
	bound(space);
	inside = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));
	if (space == SPACES - 1)
		left = SYS(fork());
	if (left) {
		SYS(setns(back, CLONE_NEWNET));
		now = 0;
	}
	child_wait();
	look(0, before);
	look(space, inside);
	look(now, SYS(socket(AF_UNIX, SOCK_DGRAM, 0)));
	if (left)
		test_reap(left);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t kids[SPACES];
	int own;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	own = SYS(open("/proc/self/ns/net", O_RDONLY));
	bound(0);
	for (int i = 1; i < SPACES; i++) {
		kids[i] = SYS(fork());
		if (!kids[i])
			kid(i, own);
	}
	test_await(&child_words->ready, SPACES);
	test_daemon();
	test_waitsig();
	look(0, SYS(socket(AF_UNIX, SOCK_DGRAM, 0)));
	for (int i = 1; i < SPACES; i++) {
		char path[64];
		bool same;

		snprintf(path, sizeof(path), "/proc/%d/ns/net", kids[i]);
		same = inode(path) == inode("/proc/self/ns/net");
		CHECK(same == (i == SPACES - 1), "child %d is%s in the first network namespace", i,
		      same ? "" : " not");
	}
	child_go();
	for (int i = 1; i < SPACES; i++)
		test_reap(kids[i]);
	pass();
}
