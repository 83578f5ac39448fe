/*
 * title: a FIFO that is open for reading and writing, and full to its last slot, is so again
 * flavours: host ns userns
 */
#include "fifo.h"

enum { SLOTS = 16, SLOT = 4096, SEED = 21 };

int main(int argc, char **argv)
{
	char data[SLOT], c = 0;
	int fd;

	test_init(argc, argv);
	fifo_make("fifo", 0642);
	fd = fifo_open("fifo", O_RDWR | O_NONBLOCK);
	for (int i = 0; i < SLOTS; i++) {
		test_fill(data, SLOT, SEED + (uint32_t)i);
		fd_put(fd, data, SLOT);
	}
	CHECK(write(fd, &c, 1) == -1 && errno == EAGAIN, "there is more room than 16 slots");
	test_daemon();
	test_waitsig();
	check_flags(fd, O_RDWR | O_NONBLOCK, 0);
	check_waiting(fd, SLOTS * SLOT);
	check_size(fd, SLOTS * SLOT);
	check_name("fifo", fd, 0642);
	check_events(fd, POLLIN | POLLOUT, POLLIN);
	CHECK(write(fd, &c, 1) == -1 && errno == EAGAIN, "a full FIFO takes more");
	for (int i = 0; i < SLOTS; i++) {
		fd_get(fd, data, SLOT);
		CHECK(test_differs(data, SLOT, SEED + (uint32_t)i) == -1, "slot %d has other bytes", i);
	}
	check_empty(fd);
	fd_put(fd, "x", 1);
	fd_get(fd, &c, 1);
	CHECK(c == 'x', "it does not work on");
	pass();
}
