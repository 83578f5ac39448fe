/*
 * title: tasks in pid namespaces below the tree's keep their pids, sessions and groups at every level
 * flavours: host ns userns
 * flags: suid
 */
#include <pthread.h>
#include <sys/wait.h>

#include "pidns.h"

enum { FIRST, KID, ORPHAN, GROUP, DEEP, DEEP_KID, SLEEPERS };
#define MOST 16

static struct shared {
	uint32_t ready;
	pid_t dead;
} *shared;

static void arrive(int who)
{
	pidns_arrive(who, &shared->ready);
}

static void *thread(void *unused)
{
	(void)unused;
	pid_t tid = (pid_t)syscall(SYS_gettid);

	test_post(&shared->ready);
	child_await_go();
	CHECK((pid_t)syscall(SYS_gettid) == tid, "thread %d is %ld", tid, syscall(SYS_gettid));
	return NULL;
}

static void deep_first(void)
{
	pid_t kid = SYS(fork());

	if (!kid) {
		arrive(DEEP_KID);
		_exit(0);
	}
	CHECK(getpid() == 1 && !getppid() && kid == 2, "pid %d, child %d", getpid(), kid);
	arrive(DEEP);
	test_reap(kid);
	_exit(0);
}

static void kid(void)
{
	pid_t deep;

	SYS(setsid());
	if (!SYS(fork())) { /* in the session and group of KID, and a child of FIRST soon */
		if (SYS(fork()))
			_exit(0);
		while (getppid() != 1)
			sched_yield();
		arrive(ORPHAN);
		_exit(0);
	}
	SYS(wait(NULL));
	deep = pidns_fork(CLONE_NEWPID);
	if (!deep)
		deep_first();
	arrive(KID);
	test_reap(deep);
	_exit(0);
}

/* A process group whose leader has gone. */
static void group(void)
{
	pid_t leader = SYS(fork());

	if (!leader) {
		SYS(setpgid(0, 0));
		if (!SYS(fork())) {
			while (getppid() != 1)
				sched_yield();
			arrive(GROUP);
			_exit(0);
		}
		_exit(0);
	}
	test_reap(leader);
}

static void first(void)
{
	pthread_t threads[2];
	int status;

	CHECK(getpid() == 1, "the first process is %d", getpid());
	if (!SYS(fork()))
		kid();
	group();
	shared->dead = SYS(fork());
	if (!shared->dead)
		_exit(7);
	SYS(waitid(P_PID, (id_t)shared->dead, NULL, WEXITED | WNOWAIT));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, NULL), "pthread_create");
	arrive(FIRST);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	SYS(waitpid(shared->dead, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the zombie's status is %#x", status);
	while (waitpid(-1, &status, 0) > 0)
		CHECK(!status, "a child ended with %#x", status);
	_exit(0);
}

/* The test sees all of them: those below `pid`, each after its parent. */
static int below(pid_t pid, pid_t *pids, int count)
{
	char path[64], *text, *at, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	text = at = test_read_file(path, NULL);
	for (pid_t kid; (kid = (pid_t)strtol(at, &end, 10)); at = end) {
		CHECK(count < MOST, "too many processes");
		pids[count++] = kid;
		count = below(kid, pids, count);
	}
	free(text);
	return count;
}

static int compare(const void *one, const void *other)
{
	return *(const pid_t *)one - *(const pid_t *)other;
}

int main(int argc, char **argv)
{
	struct pidns_names names[MOST];
	pid_t root, pids[MOST], now[MOST];
	int count;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	root = pidns_fork(CLONE_NEWPID);
	if (!root)
		first();
	test_await(&shared->ready, SLEEPERS + 2);
	count = below(getpid(), pids, 0);
	CHECK(count == SLEEPERS + 1, "%d processes", count);
	qsort(pids, count, sizeof(*pids), compare);
	for (int i = 0; i < count; i++)
		pidns_look(pids[i], &names[i]);
	test_daemon();
	test_waitsig();
	CHECK(below(getpid(), now, 0) == count, "there were %d processes", count);
	qsort(now, count, sizeof(*now), compare);
	CHECK(!memcmp(now, pids, count * sizeof(*now)), "the pids have changed");
	for (int i = 0; i < count; i++)
		pidns_same(pids[i], &names[i]);
	child_go();
	test_reap(root);
	pass();
}
