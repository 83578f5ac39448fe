/*
 * title: what processes are to undo at their end (SEM_UNDO) is undone in the IPC namespace of each
 * flavours: host ns userns
 * flags: suid
 */
#include <sched.h>

#include "child.h"
#include "sysv.h"

enum { SPACES = 2 };

static uint32_t *over;

/* The same id, and another value, in each. */
static void space(int number)
{
	pid_t kid;
	int id;

	SYS(unshare(CLONE_NEWIPC));
	id = SYS(semget(IPC_PRIVATE, 1, 0600));
	SYS(semctl(id, 0, SETVAL, (union semun){.val = 100}));
	kid = SYS(fork());
	if (!kid) {
		SYS(sem_change(id, 0, -10 - number, SEM_UNDO));
		child_wait();
		test_await(over, SPACES);
		_exit(0);
	}
	test_await(&child_words->ready, SPACES);
	child_await_go();
	CHECK(semctl(id, 0, GETVAL) == 90 - number, "%d in space %d", semctl(id, 0, GETVAL), number);
	test_post(over);
	test_reap(kid);
	CHECK(semctl(id, 0, GETVAL) == 100, "%d in space %d afterwards", semctl(id, 0, GETVAL), number);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t kids[SPACES];

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	over = test_shared(sizeof(*over));
	for (int i = 0; i < SPACES; i++) {
		kids[i] = SYS(fork());
		if (!kids[i])
			space(i);
	}
	test_await(&child_words->ready, SPACES);
	test_daemon();
	test_waitsig();
	child_go();
	for (int i = 0; i < SPACES; i++)
		test_reap(kids[i]);
	pass();
}
