/*
 * unix bound PATH: a datagram socket that is bound to PATH, with something that waits in it, and one with
 * PATH for an abstract name, less the first character. unix refused PATH, told PATH, replaced PATH: what
 * cannot be dumped, one of them connected to PATH; a queue with credentials; a name that another socket has
 * now. Says so, sleeps until SIGTERM.
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

static int descriptor_to(int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec part = {"x", 1};
	struct msghdr message = {NULL, 0, &part, 1, &control, sizeof(control), 0};

	return sendmsg(fd, &message, 0) == 1;
}

static int refused(const struct sockaddr_un *outside)
{
	int pair[2], fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	return !socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && socket(AF_UNIX, SOCK_SEQPACKET, 0) > 0 &&
	       !connect(fd, (struct sockaddr *)outside, sizeof(*outside)) &&
	       !socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) && descriptor_to(pair[0]) &&
	       open("/proc/self/fd/3", O_PATH) > 0;
}

static int told(const struct sockaddr_un *name)
{
	int one = 1, pair[2];

	(void)name;
	return !socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) &&
	       !setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) && write(pair[1], "", 1) == 1;
}

/* A socket whose peer is closed, and another one that has the name of that. */
static int replaced(const struct sockaddr_un *name)
{
	int old = socket(AF_UNIX, SOCK_DGRAM, 0), fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un abstract = *name;
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + (socklen_t)strlen(name->sun_path);

	abstract.sun_path[0] = 0;
	return !bind(old, (struct sockaddr *)&abstract, length) &&
	       !connect(fd, (struct sockaddr *)&abstract, length) && !close(old) &&
	       !bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&abstract, length);
}

static int bound(const struct sockaddr_un *name)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), from = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un abstract = *name;
	socklen_t length = (socklen_t)strlen(name->sun_path);

	if (bind(fd, (struct sockaddr *)name, sizeof(*name)) ||
	    sendto(from, "x", 1, 0, (struct sockaddr *)name, sizeof(*name)) != 1)
		return 0;
	abstract.sun_path[0] = 0;
	return !bind(from, (struct sockaddr *)&abstract, offsetof(struct sockaddr_un, sun_path) + length);
}

static const struct {
	const char *name;
	int (*make)(const struct sockaddr_un *name);
} modes[] = {{"bound", bound}, {"refused", refused}, {"told", told}, {"replaced", replaced}};

int main(int argc, char **argv)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	signal(SIGTERM, finish);
	if (argc < 3 || strlen(argv[2]) >= sizeof(name.sun_path))
		return 1;
	strcpy(name.sun_path, argv[2]);
	for (unsigned int i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(argv[1], modes[i].name) && !modes[i].make(&name))
			return 1;
	write(1, "ready\n", 6);
	while (!done)
		sigsuspend(&before);
	return 0;
}
