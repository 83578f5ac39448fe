/*
 * title: processes with one memory and one table of descriptors stay in user namespaces that differ
 * flavours: host ns userns
 * flags: suid
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "userns.h"

#define STACK (256 << 10)

enum { OTHERS = 2 };

/* Words and values of their common memory. */
static uint32_t entered, mapped, ready, go, told;
static volatile int value, number = -1;
static ino_t spaces[OTHERS];

static ino_t space(void)
{
	struct stat st;

	SYS(stat("/proc/self/ns/user", &st));
	return st.st_ino;
}

/* The second comes from the first, and is in a namespace below that one's. */
static int other(void *argument);

static pid_t start(int which)
{
	char *stack = SYS(mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	pid_t pid =
		SYS(clone(other, stack + STACK, CLONE_VM | CLONE_FILES | SIGCHLD, (void *)(intptr_t)which));

	test_await(&entered, which + 1);
	userns_write(pid, "uid_map", which ? "0 3 1\n" : "0 1000 9\n");
	userns_write(pid, "setgroups", "deny");
	userns_write(pid, "gid_map", which ? "0 4 1\n" : "0 2000 9\n");
	test_post(&mapped);
	return pid;
}

static int other(void *argument)
{
	int which = (int)(intptr_t)argument;
	uid_t uid = which ? 0 : 3;
	pid_t pid = 0;

	SYS(unshare(CLONE_NEWUSER));
	SYS(prctl(PR_SET_DUMPABLE, 1)); /* or nobody could write its maps */
	test_post(&entered);
	test_await(&mapped, which + 1);
	SYS(setresgid(which ? 0 : 4, which ? 0 : 4, 0));
	SYS(setresuid(uid, uid, 0));
	if (!which)
		pid = start(1);
	test_post(&ready);
	test_await(&go, which + 1);
	CHECK(value == 17 + which, "process %d: the memory has %d", which, value);
	CHECK(fcntl(number, F_GETFD) == FD_CLOEXEC, "process %d: no descriptor %d: %m", which, number);
	CHECK(getuid() == uid && geteuid() == uid, "process %d is user %d, %d", which, getuid(), geteuid());
	spaces[which] = space();
	value++;
	test_post(&told);
	if (pid)
		test_reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = start(0);
	test_await(&ready, OTHERS);
	test_daemon();
	test_waitsig();
	number = SYS(open("/dev/null", O_RDONLY | O_CLOEXEC));
	value = 17;
	for (int i = 0; i < OTHERS; i++) {
		test_post(&go);
		test_await(&told, i + 1);
	}
	CHECK(value == 19, "the memory has %d", value);
	CHECK(spaces[0] != space() && spaces[1] != space() && spaces[0] != spaces[1],
	      "they are in one namespace");
	test_reap(pid);
	pass();
}
