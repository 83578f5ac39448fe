/*
 * title: namespaces that only descriptors keep stay, with what is in them
 * flavours: host ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "zdtm.h"

#define KEY  0x5eed
#define NAME "held-here"

static const struct {
	const char *path;
	int flag;
} kinds[] = {{"/proc/self/ns/uts", CLONE_NEWUTS},
	     {"/proc/self/ns/ipc", CLONE_NEWIPC},
	     {"/proc/self/ns/net", CLONE_NEWNET}};

enum { UTS, IPC, NET, KINDS };

static bool is_up(void)
{
	struct ifreq lo = {.ifr_name = "lo"};
	int fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));

	SYS(ioctl(fd, SIOCGIFFLAGS, &lo));
	SYS(close(fd));
	return lo.ifr_flags & IFF_UP;
}

static void set_up(void)
{
	struct ifreq lo = {.ifr_name = "lo"};
	int fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));

	SYS(ioctl(fd, SIOCGIFFLAGS, &lo));
	lo.ifr_flags |= IFF_UP;
	SYS(ioctl(fd, SIOCSIFFLAGS, &lo));
	SYS(close(fd));
}

static ino_t inode(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

int main(int argc, char **argv)
{
	int own[KINDS], held[KINDS], again;
	char name[65];

	test_init(argc, argv);
	for (int i = 0; i < KINDS; i++) {
		own[i] = SYS(open(kinds[i].path, O_RDONLY));
		SYS(unshare(kinds[i].flag));
		held[i] = SYS(open(kinds[i].path, O_RDONLY));
	}
	SYS(sethostname(NAME, strlen(NAME)));
	SYS(msgget(KEY, IPC_CREAT | 0600));
	set_up();
	again = SYS(dup(held[NET]));
	for (int i = 0; i < KINDS; i++)
		if (setns(own[i],
			  kinds[i].flag)) { /* another user namespace's: what is left is one of each */
			CHECK(errno == EPERM, "setns: %m");
			SYS(unshare(kinds[i].flag));
		}
	for (int i = 0; i < KINDS; i++)
		SYS(close(own[i]));
	test_daemon();
	test_waitsig();
	SYS(gethostname(name, sizeof(name)));
	CHECK(strcmp(name, NAME), "the name is %s already", name);
	CHECK(msgget(KEY, 0) < 0 && errno == ENOENT, "the queue is here");
	for (int i = 0; i < KINDS; i++) {
		int now = SYS(open(kinds[i].path, O_RDONLY));

		CHECK(inode(now) != inode(held[i]), "%s is the one that is held", kinds[i].path);
		SYS(setns(held[i], kinds[i].flag));
		SYS(close(now));
	}
	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, NAME), "the name is %s", name);
	SYS(msgget(KEY, 0));
	CHECK(is_up(), "lo is down");
	CHECK(inode(again) == inode(held[NET]), "the descriptors are of two");
	pass();
}
