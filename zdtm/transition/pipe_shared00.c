/*
 * title: three children that share the read end of a pipe which their parent floods while it is dumped
 * flavours: host ns userns
 */
#include "fifo.h"

#include <signal.h>

enum { CHILDREN = 3, RECORD = 16, SEED = 5 };

struct words {
	uint64_t taken[CHILDREN];
};

/* A record is put and taken in one call, and never split: it is smaller than PIPE_BUF and divides the size.
 */
static _Noreturn void child(int in, uint64_t *taken)
{
	char record[RECORD];
	ssize_t n;

	while ((n = SYS(read(in, record, RECORD))) > 0) {
		CHECK(n == RECORD, "%zd bytes instead of a record", n);
		CHECK(test_differs(record, RECORD, SEED) == -1, "another record than was sent");
		++*taken;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pids[CHILDREN];
	struct words *words;
	char record[RECORD];
	uint64_t sent = 0, taken = 0;
	int fds[2];

	test_init(argc, argv);
	words = test_shared(sizeof(*words));
	SYS(pipe(fds));
	test_fill(record, RECORD, SEED);
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = SYS(fork());
		if (!pids[i]) {
			SYS(close(fds[1]));
			child(fds[0], &words->taken[i]);
		}
	}
	SYS(close(fds[0]));
	test_daemon();
	while (test_go() || sent < 1000) {
		fd_put(fds[1], record, RECORD);
		sent++;
	}
	SYS(close(fds[1]));
	for (int i = 0; i < CHILDREN; i++) {
		test_reap(pids[i]);
		taken += words->taken[i];
	}
	CHECK(taken == sent, "%lu records were sent, %lu were taken", sent, taken);
	pass();
}
