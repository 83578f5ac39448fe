/*
 * title: parent and children share pipes, inherited descriptions of them, and contents that are there once
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { CHILDREN = 3, RECORD = 1000, SEED = 11 };

struct shared {
	uint32_t ready, go[CHILDREN];
	int sum_back[CHILDREN];
};

static int to_child[2], to_parent[2];

/* Takes one record of the common pipe, whichever comes; sends it on; is told by EOF to end. */
static _Noreturn void child(struct shared *shared, int number)
{
	char record[RECORD];

	SYS(close(to_child[1]));
	SYS(close(to_parent[0]));
	test_post(&shared->ready);
	test_await(&shared->go[number], 1);
	CHECK(SYS(read(to_child[0], record, RECORD)) == RECORD, "child %d: a short read", number);
	CHECK(test_differs(record, RECORD, SEED + (uint32_t)number) == -1, "child %d: another record",
	      number);
	CHECK(SYS(write(to_parent[1], record, RECORD)) == RECORD, "child %d: a short write", number);
	/* The description of the reading end is common: what the parent set is so here. */
	CHECK(SYS(fcntl(to_child[0], F_GETFL)) == (O_RDONLY | O_NONBLOCK), "child %d: its end has flags %#o",
	      number, fcntl(to_child[0], F_GETFL));
	test_post(&shared->ready);
	test_await(&shared->go[number], 2);
	CHECK(SYS(read(to_child[0], record, RECORD)) == 0, "child %d: no end of file", number);
	_exit(0);
}

int main(int argc, char **argv)
{
	char record[RECORD], got[RECORD];
	struct shared *shared;
	pid_t pids[CHILDREN];
	int i;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	SYS(pipe(to_child));
	SYS(pipe(to_parent));
	for (i = 0; i < CHILDREN; i++) {
		pids[i] = SYS(fork());
		if (!pids[i])
			child(shared, i);
	}
	test_await(&shared->ready, CHILDREN);
	SYS(close(to_parent[1]));
	for (i = 0; i < CHILDREN; i++) {
		test_fill(record, RECORD, SEED + (uint32_t)i);
		CHECK(SYS(write(to_child[1], record, RECORD)) == RECORD, "a short write");
	}
	test_daemon();
	test_waitsig();
	SYS(fcntl(to_child[0], F_SETFL, O_NONBLOCK));
	for (i = 0; i < CHILDREN; i++) {
		test_post(&shared->go[i]);
		test_await(&shared->ready, CHILDREN + 1 + (uint32_t)i);
		test_fill(record, RECORD, SEED + (uint32_t)i);
		CHECK(SYS(read(to_parent[0], got, RECORD)) == RECORD, "a short read");
		CHECK(!memcmp(got, record, RECORD), "child %d sends another record", i);
	}
	CHECK(read(to_child[0], got, 1) == -1 && errno == EAGAIN, "a record was there twice");
	SYS(close(to_child[1]));
	for (i = 0; i < CHILDREN; i++) {
		test_post(&shared->go[i]);
		test_reap(pids[i]);
	}
	CHECK(SYS(read(to_parent[0], got, 1)) == 0, "somebody else has an end");
	pass();
}
