/*
 * title: a locked procfs of a pid namespace below the tree's is refused by name, in a user namespace
 * flavours: ns userns
 * flags: suid crfail
 */
#include "mount.h"
#include "pidns.h"
#include "userns.h"

static struct {
	uint32_t map[2];
	pid_t pid; /* as the test calls it */
} *shared;

static void below(void)
{
	char link[16] = {0};

	SYS(readlink("/proc/self", link, sizeof(link) - 1));
	shared->pid = atoi(link);
	userns_enter(shared->map, CLONE_NEWNS);
	child_wait();
	CHECK(umount("/tmp") < 0 && errno == EINVAL, "it is not locked");
	_exit(0);
}

static void first(void)
{
	pid_t pid;

	SYS(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	SYS(mount("proc", "/tmp", "proc", 0, NULL));
	pid = SYS(fork());
	if (!pid)
		below();
	test_reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	pid = pidns_fork(CLONE_NEWPID | CLONE_NEWNS);
	if (!pid)
		first();
	test_await(shared->map, 1);
	userns_map(shared->pid, shared->map, "0 1000 5\n", "0 1000 5\n");
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	test_reap(pid);
	pass();
}
