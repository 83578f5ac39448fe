/* A ring of tasks that hand what the first one sends on, over pipes or FIFOs, until that one ends it. */
#ifndef RING_H
#define RING_H

#include "fifo.h"

#include <signal.h>
#include <sys/wait.h>

enum { RING_TASKS = 4, RING_ROOM = 8192 };

/* Link i leads from task i to the next one. */
struct ring {
	int in[RING_TASKS], out[RING_TASKS];
	pid_t pids[RING_TASKS];
};

/* All of it goes on, however it comes in, until there is no writer any more. */
static _Noreturn void ring_pass_on(int in, int out)
{
	char data[RING_ROOM];
	ssize_t n;

	while ((n = SYS(read(in, data, sizeof(data)))) > 0)
		for (ssize_t done = 0; done < n;)
			done += SYS(write(out, data + done, (size_t)(n - done)));
	_exit(0);
}

/* Each child keeps its two ends only; the first task the first link's write end and the last one's read end.
 * What goes round once shows that all of them do.
 */
static inline void ring_start(struct ring *ring)
{
	for (int i = 1; i < RING_TASKS; i++) {
		ring->pids[i] = SYS(fork());
		if (ring->pids[i])
			continue;
		for (int link = 0; link < RING_TASKS; link++) {
			if (link != i - 1)
				SYS(close(ring->in[link]));
			if (link != i)
				SYS(close(ring->out[link]));
		}
		ring_pass_on(ring->in[i - 1], ring->out[i]);
	}
	for (int link = 0; link < RING_TASKS; link++) {
		if (link != RING_TASKS - 1)
			SYS(close(ring->in[link]));
		if (link)
			SYS(close(ring->out[link]));
	}
	char once = 0;

	fd_put(ring->out[0], &once, 1);
	fd_get(ring->in[RING_TASKS - 1], &once, 1);
}

/* While the test goes on: what is sent comes back as it was, each time something else and of another size. */
static inline void ring_run(struct ring *ring, int most)
{
	static char data[1 << 16];
	uint32_t round = 0;

	while (test_go() || round < 10) {
		size_t size = 1 + (round * 7919u) % (unsigned)most;

		test_fill(data, size, round);
		fd_put(ring->out[0], data, size);
		memset(data, 0, size);
		fd_get(ring->in[RING_TASKS - 1], data, size);
		CHECK(test_differs(data, size, round) == -1, "round %u: other bytes come back", round);
		round++;
	}
	SYS(close(ring->out[0]));
	for (int i = 1; i < RING_TASKS; i++)
		test_reap(ring->pids[i]);
	check_ended(ring->in[RING_TASKS - 1]);
}

#endif
