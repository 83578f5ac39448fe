/*
 * title: a ring of four tasks with pipes between them loses nothing of what it passes on
 * flavours: host ns userns
 */
#include "ring.h"

int main(int argc, char **argv)
{
	struct ring ring;

	test_init(argc, argv);
	for (int i = 0; i < RING_TASKS; i++) {
		int fds[2];

		SYS(pipe(fds));
		ring.in[i] = fds[0];
		ring.out[i] = fds[1];
	}
	ring_start(&ring);
	test_daemon();
	ring_run(&ring, 1 << 16);
	pass();
}
