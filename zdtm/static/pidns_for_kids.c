/*
 * title: children to come are born into the pid namespace that was chosen for them: new, of others, or ended
 * flavours: host ns userns
 * flags: suid
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "pidns.h"

enum { NEW, ENTERED, ENDED, MAKERS };

static struct shared {
	uint32_t ready, looked;
	struct pidns_names joined;
} *shared;

static void link_of(const char *name, char *out, size_t size)
{
	ssize_t length = SYS(readlink(name, out, size - 1));

	out[length] = 0;
}

/* Who has a child in a namespace that it is not in itself, nor will other children of its be. */
static void join(pid_t first)
{
	char path[64];
	int own = SYS(open("/proc/self/ns/pid", O_RDONLY)), other;
	pid_t kid;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", first);
	other = SYS(open(path, O_RDONLY));
	SYS(setns(other, CLONE_NEWPID));
	kid = SYS(fork());
	if (!kid) {
		CHECK(getpid() == 2 && !getppid(), "pid %d, parent %d", getpid(), getppid());
		test_post(&shared->ready);
		test_await(&shared->looked, 1);
		CHECK(getpid() == 2 && !getppid(), "pid %d, parent %d", getpid(), getppid());
		_exit(0);
	}
	SYS(setns(own, CLONE_NEWPID));
	SYS(close(own));
	SYS(close(other));
	pidns_look(kid, &shared->joined);
	test_post(&shared->ready);
	child_await_go();
	pidns_same(kid, &shared->joined);
	test_post(&shared->looked);
	test_reap(kid);
	kid = SYS(fork());
	if (!kid)
		_exit(getppid() == 0);
	test_reap(kid);
	_exit(0);
}

static void maker(int what)
{
	char before[64], after[64] = "";
	pid_t kid = -1, next;

	SYS(unshare(CLONE_NEWPID));
	CHECK(readlink("/proc/self/ns/pid_for_children", after, sizeof(after)) < 0 && errno == ENOENT,
	      "children get %s", after);
	if (what != NEW) {
		kid = SYS(fork());
		if (!kid) {
			if (what == ENDED)
				_exit(0);
			child_await_go();
			test_await(&shared->looked, 2);
			_exit(0);
		}
		link_of("/proc/self/ns/pid", before, sizeof(before));
		link_of("/proc/self/ns/pid_for_children", after, sizeof(after));
		CHECK(strcmp(before, after), "children get %s", after);
	}
	if (what == ENDED)
		test_reap(kid);
	test_post(&shared->ready);
	child_await_go();
	next = fork();
	if (!next) {
		CHECK(getpid() == (what == NEW ? 1 : 2), "the next child is %d", getpid());
		_exit(0);
	}
	if (what == ENDED)
		CHECK(next < 0 && errno == ENOMEM, "a child %d: %m", next);
	else
		test_reap(next);
	if (what == ENTERED) {
		test_post(&shared->looked);
		test_reap(kid);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t makers[MAKERS], first, joiner;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	for (int i = 0; i < MAKERS; i++) {
		makers[i] = SYS(fork());
		if (!makers[i])
			maker(i);
	}
	first = pidns_fork(CLONE_NEWPID);
	if (!first) {
		child_await_go();
		test_await(&shared->looked, 1);
		while (wait(NULL) > 0)
			;
		test_await(&shared->looked, 3);
		_exit(0);
	}
	joiner = SYS(fork());
	if (!joiner)
		join(first);
	test_await(&shared->ready, MAKERS + 2);
	test_daemon();
	test_waitsig();
	child_go();
	for (int i = 0; i < MAKERS; i++)
		test_reap(makers[i]);
	test_reap(joiner);
	test_post(&shared->looked);
	test_reap(first);
	pass();
}
