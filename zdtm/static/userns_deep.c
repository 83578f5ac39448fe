/*
 * title: pid namespaces of users inside of each other, and what is in them, at every level
 * flavours: ns userns
 * flags: suid
 */
#include <sys/wait.h>

#include "mount.h"
#include "pidns.h"
#include "userns.h"

/* the first process of the tree's own one, of that of a user in it, of that of a user in that; children */
enum { TOP, OUTER, INNER, KID, TASKS };

static struct shared {
	uint32_t map[2][2], ready, checked;
	pid_t called[2]; /* by /proc */
} *shared;

/* What the caller is called where /proc is from. */
static pid_t self(void)
{
	char link[16] = {0};

	SYS(readlink("/proc/self", link, sizeof(link) - 1));
	return atoi(link);
}

static void arrive(int who)
{
	struct pidns_names names;
	uid_t uid = getuid();

	pidns_look(self(), &names);
	test_post(&shared->ready);
	child_await_go();
	pidns_same(self(), &names);
	CHECK(getuid() == uid, "task %d: uid %d, was %d", who, getuid(), uid);
	if (who != TOP)
		userns_owns(0, "pid");
	test_post(&shared->checked);
}

static void inner(void)
{
	pid_t pid, more;

	pid = SYS(fork());
	if (!pid) {
		SYS(setsid());
		SYS(setresuid(2, 2, 2));
		arrive(KID);
		_exit(0);
	}
	arrive(INNER);
	test_reap(pid);
	more = SYS(fork());
	if (!more)
		_exit(getpid() == 1);
	test_reap(more);
	_exit(0);
}

static void map(int level, const char *uids, const char *gids)
{
	test_await(shared->map[level], 1);
	if (level) /* for good, as for all that a user makes by himself */
		userns_write(shared->called[level], "setgroups", "deny");
	userns_map(shared->called[level], shared->map[level], uids, gids);
}

static pid_t start(int level, int flags, void (*first)(void))
{
	pid_t pid = SYS(fork()), child;

	if (pid)
		return pid;
	shared->called[level] = self();
	userns_enter(shared->map[level], CLONE_NEWPID | flags);
	child = SYS(fork());
	if (!child)
		first();
	test_reap(child);
	_exit(0);
}

static void outer(void)
{
	pid_t pid;

	SYS(mount("proc", "/proc", "proc", 0, NULL));
	CHECK(self() == 1, "called %d", self());
	pid = start(1, 0, inner);
	map(1, "0 1 5\n", "0 2 5\n");
	arrive(OUTER);
	test_reap(pid);
	_exit(0);
}

static void top(void)
{
	pid_t pid;

	pid = start(0, CLONE_NEWNS, outer);
	map(0, "0 1000 20\n", "0 2000 20\n");
	arrive(TOP);
	test_reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct pidns_names names;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	pid = pidns_fork(CLONE_NEWPID);
	if (!pid)
		top();
	test_await(&shared->ready, TASKS);
	pidns_look(pid, &names);

	test_daemon();
	test_waitsig();

	pidns_same(pid, &names);
	child_go();
	test_await(&shared->checked, TASKS);
	test_reap(pid);
	pass();
}
