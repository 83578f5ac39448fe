/*
 * title: pid namespaces that belong to a user namespace below the tree's still do, with all tasks in them
 * flavours: ns userns
 * flags: suid
 */
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "pidns.h"
#include "userns.h"

/* who starts the first process, that one, its children, the first of a namespace below, one from
 * outside */
enum { OUTER, FIRST, KID, LEADER, ORPHAN, DEEP, JOINED, TASKS };

static struct shared {
	uint32_t map[2], ready, told, checked;
	pid_t pids[TASKS]; /* as the test calls them, but those below by their own */
} *shared;

struct ids {
	uid_t uids[3];
	gid_t gids[3];
};

static struct ids ids(void)
{
	struct ids now;

	SYS(getresuid(&now.uids[0], &now.uids[1], &now.uids[2]));
	SYS(getresgid(&now.gids[0], &now.gids[1], &now.gids[2]));
	return now;
}

static void arrive(int who)
{
	struct ids before = ids(), now;

	pidns_arrive(who, &shared->ready);
	now = ids();
	CHECK(!memcmp(&now, &before, sizeof(now)), "task %d: uid %d %d gid %d, were %d %d %d", who,
	      now.uids[0], now.uids[1], now.gids[0], before.uids[0], before.uids[1], before.gids[0]);
	if (who != JOINED)
		userns_owns(0, "pid");
	test_post(&shared->checked);
}

static void deep(void)
{
	CHECK(getpid() == 1, "the first process is %d", getpid());
	arrive(DEEP);
	_exit(0);
}

static void kid(void)
{
	SYS(setresgid(2, 3, 4));
	SYS(setresuid(3, 4, 5));
	arrive(KID);
	_exit(0);
}

static void leader(void)
{
	pid_t pid;

	SYS(setsid());
	pid = SYS(fork());
	if (!pid) { /* somebody of this session whose parent is the first process */
		if (SYS(fork()))
			_exit(0);
		while (getppid() != 1)
			sched_yield();
		arrive(ORPHAN);
		_exit(0);
	}
	test_reap(pid);
	pid = pidns_fork(CLONE_NEWPID);
	if (!pid)
		deep();
	arrive(LEADER);
	test_reap(pid);
	_exit(0);
}

static void first(void)
{
	pid_t kids[2], more, dead;
	siginfo_t info;
	int status;
	sigset_t set;

	CHECK(getpid() == 1 && !getppid(), "the first process is %d, its parent %d", getpid(), getppid());
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
	kids[0] = SYS(fork());
	if (!kids[0])
		kid();
	kids[1] = SYS(fork());
	if (!kids[1])
		leader();
	dead = SYS(fork());
	if (!dead)
		_exit(7);
	SYS(waitid(P_PID, (id_t)dead, NULL, WEXITED | WNOWAIT));
	arrive(FIRST);
	SYS(waitpid(dead, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the zombie's status is %#x", status);
	more = SYS(fork()); /* the namespace works on */
	if (!more) {
		SYS(kill(1, SIGUSR1));
		_exit(0);
	}
	CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == more, "from %d, not %d", info.si_pid,
	      more);
	test_reap(more);
	test_await(&shared->told, 1);
	test_reap(kids[0]);
	test_reap(kids[1]);
	while (waitpid(-1, &status, 0) > 0)
		CHECK(!status, "a child ended with %#x", status);
	_exit(0);
}

/* As unshare(1) does with --user --pid --fork: its own pid is outside, its children's are not. */
static void outer(void)
{
	pid_t pid, more;
	int status;

	userns_enter(shared->map, CLONE_NEWPID);
	pid = SYS(fork());
	if (!pid)
		first();
	shared->pids[FIRST] = pid;
	test_post(&shared->ready);
	child_await_go();
	more = SYS(fork());
	if (!more)
		_exit(getpid() > 1 && !getppid() ? 7 : 8);
	SYS(waitpid(more, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "a new child ended with %#x", status);
	test_post(&shared->told);
	test_reap(pid);
	_exit(0);
}

/* One of the tree's own user namespace enters the one below. */
static pid_t join(pid_t pid)
{
	int pidfd = SYS(pidfd_open(pid, 0)), own = SYS(open("/proc/self/ns/pid", O_RDONLY));
	pid_t joined;

	SYS(setns(pidfd, CLONE_NEWPID));
	joined = SYS(fork());
	if (!joined) {
		arrive(JOINED);
		_exit(0);
	}
	SYS(setns(own, CLONE_NEWPID));
	SYS(close(own));
	SYS(close(pidfd));
	return joined;
}

int main(int argc, char **argv)
{
	pid_t pid, joined, all[3];
	struct pidns_names names[3];
	char path[64];
	ino_t parent;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	pid = SYS(fork());
	if (!pid)
		outer();
	userns_map(pid, shared->map, "0 1000 10\n", "0 2000 10\n");
	test_await(&shared->ready, DEEP + 1);
	joined = join(shared->pids[FIRST]);
	test_await(&shared->ready, TASKS);
	all[0] = pid, all[1] = shared->pids[FIRST], all[2] = joined;
	for (int i = 0; i < 3; i++)
		pidns_look(all[i], &names[i]);

	test_daemon();
	test_waitsig();

	for (int i = 0; i < 3; i++)
		pidns_same(all[i], &names[i]);
	userns_owns(all[1], "pid");
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", all[1]);
	parent = userns_ask(path, USERNS_GET_PARENT);
	CHECK(parent == userns_ask("/proc/self/ns/pid", 0), "the namespace is in another one");
	child_go();
	test_await(&shared->checked, TASKS - 1);
	test_reap(joined);
	test_reap(pid);
	pass();
}
