/*
 * title: tasks in user namespaces below the tree's keep maps, ids, capabilities, and what belongs to these
 * flavours: host ns userns
 * flags: suid
 */
#include <stdio.h>
#include <stdlib.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "userns.h"

#define NS_GET_USERNS	 _IO(0xb7, 0x1)
#define NS_GET_OWNER_UID _IO(0xb7, 0x4)
#define NAME		 "below"

static uint32_t *mapped, *looked;

/* first: a namespace that root has made, with more than one range; in it another one, by a user of its own */
enum { FIRST, SECOND, SPACES };

/* All that tells who a task is. */
struct who {
	uid_t uids[3];
	gid_t gids[3];
	struct __user_cap_data_struct caps[2];
	int bounding, securebits, groups;
	char *maps[3];
};

static void look(struct who *it)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const char *names[] = {"uid_map", "gid_map", "setgroups"};
	char path[64];

	memset(it, 0, sizeof(*it));
	SYS(getresuid(&it->uids[0], &it->uids[1], &it->uids[2]));
	SYS(getresgid(&it->gids[0], &it->gids[1], &it->gids[2]));
	SYS(syscall(SYS_capget, &header, it->caps));
	it->bounding = prctl(PR_CAPBSET_READ, CAP_SYS_TIME);
	it->securebits = prctl(PR_GET_SECUREBITS);
	it->groups = SYS(getgroups(0, NULL));
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", names[i]);
		it->maps[i] = test_read_file(path, NULL);
	}
}

static void same(const struct who *before, int space)
{
	struct who now;

	look(&now);
	for (int i = 0; i < 3; i++) {
		CHECK(now.uids[i] == before->uids[i], "uid %d, was %d", now.uids[i], before->uids[i]);
		CHECK(now.gids[i] == before->gids[i], "gid %d, was %d", now.gids[i], before->gids[i]);
		CHECK(!strcmp(now.maps[i], before->maps[i]), "space %d: map %d is %s, was %s", space, i,
		      now.maps[i], before->maps[i]);
	}
	CHECK(!memcmp(now.caps, before->caps, sizeof(now.caps)),
	      "space %d: capabilities %#x %#x, were %#x %#x", space, now.caps[0].effective,
	      now.caps[0].permitted, before->caps[0].effective, before->caps[0].permitted);
	CHECK(now.bounding == before->bounding && now.securebits == before->securebits &&
		      now.groups == before->groups,
	      "bounding %d securebits %#x groups %d", now.bounding, now.securebits, now.groups);
}

static ino_t inode(int fd)
{
	struct stat st;

	SYS(fstat(fd, &st));
	return st.st_ino;
}

static ino_t inode_of(const char *path)
{
	int fd = SYS(open(path, O_RDONLY));
	ino_t it = inode(fd);

	SYS(close(fd));
	return it;
}

/* The user namespace that one of the caller's belongs to. */
static ino_t owner(const char *path)
{
	int fd = SYS(open(path, O_RDONLY)), user = SYS(ioctl(fd, NS_GET_USERNS));
	ino_t it = inode(user);

	SYS(close(fd));
	SYS(close(user));
	return it;
}

static uid_t maker(void)
{
	int fd = SYS(open("/proc/self/ns/user", O_RDONLY));
	uid_t uid;

	SYS(ioctl(fd, NS_GET_OWNER_UID, &uid));
	SYS(close(fd));
	return uid;
}

static void second(void)
{
	struct who before;
	uid_t by = maker();

	look(&before);
	child_wait();
	same(&before, SECOND);
	CHECK(maker() == by, "made by %d, not %d", maker(), by);
	test_post(looked);
	_exit(0);
}

static void first(void)
{
	struct who before;
	char name[65];
	pid_t kid;
	uid_t by;

	SYS(unshare(CLONE_NEWUSER));
	test_post(mapped);
	test_await(mapped, 2);
	SYS(setresgid(5, 5, 5));
	SYS(setresuid(3, 3, 0));
	SYS(setresuid(-1, 0, -1));
	SYS(unshare(CLONE_NEWUTS | CLONE_NEWNET));
	SYS(sethostname(NAME, strlen(NAME)));
	SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME));
	kid = SYS(fork());
	if (!kid) {
		SYS(unshare(CLONE_NEWUSER));
		SYS(prctl(PR_SET_DUMPABLE, 1));
		test_post(mapped);
		test_await(mapped, 4);
		second();
	}
	test_await(mapped, 3);
	userns_write(kid, "setgroups", "deny");
	userns_write(kid, "uid_map", "7 0 1\n");
	userns_write(kid, "gid_map", "8 5 1\n");
	test_post(mapped);
	look(&before);
	by = maker();
	child_wait();
	same(&before, FIRST);
	CHECK(maker() == by, "made by %d, not %d", maker(), by);
	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, NAME), "the name is %s", name);
	CHECK(owner("/proc/self/ns/uts") == inode_of("/proc/self/ns/user"),
	      "the uts namespace is somebody else's");
	CHECK(owner("/proc/self/ns/net") == inode_of("/proc/self/ns/user"),
	      "the net namespace is somebody else's");
	SYS(sethostname("other", 5));
	test_reap(kid);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	mapped = test_shared(sizeof(*mapped));
	looked = test_shared(sizeof(*looked));
	pid = SYS(fork());
	if (!pid)
		first();
	test_await(mapped, 1);
	userns_write(pid, "uid_map", "0 1000 5\n10 2000 3\n");
	userns_write(pid, "gid_map", "0 3000 6\n");
	test_post(mapped);
	test_await(&child_words->ready, SPACES);
	test_daemon();
	test_waitsig();
	child_go();
	test_await(looked, 1);
	test_reap(pid);
	pass();
}
