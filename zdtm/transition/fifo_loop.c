/*
 * title: a ring of four tasks with larger FIFOs between them loses nothing of what it passes on
 * flavours: host ns userns
 */
#include "ring.h"

enum { SIZE = 1 << 17 };

int main(int argc, char **argv)
{
	struct ring ring;
	char name[16];

	test_init(argc, argv);
	for (int i = 0; i < RING_TASKS; i++) {
		int both;

		snprintf(name, sizeof(name), "fifo-%d", i);
		fifo_make(name, 0600);
		both = fifo_open(name, O_RDWR);
		CHECK(SYS(fcntl(both, F_SETPIPE_SZ, SIZE)) == SIZE, "another size than asked for");
		ring.in[i] = fifo_open(name, O_RDONLY);
		ring.out[i] = fifo_open(name, O_WRONLY);
		SYS(close(both));
	}
	ring_start(&ring);
	test_daemon();
	ring_run(&ring, 1 << 16);
	check_size(ring.in[RING_TASKS - 1], SIZE);
	pass();
}
