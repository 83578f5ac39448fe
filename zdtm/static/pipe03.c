/*
 * title: pipes of one MiB, the one full and the other empty, take as much as before
 * flavours: host ns userns
 */
#include "fifo.h"

enum { SIZE = 1 << 20, SEED = 77 };

int main(int argc, char **argv)
{
	static char data[SIZE];
	int full[2], empty[2];

	test_init(argc, argv);
	SYS(pipe2(full, O_NONBLOCK));
	SYS(pipe2(empty, O_NONBLOCK));
	/* Of an unprivileged user's pipes that is all the memory that he may have. */
	CHECK(SYS(fcntl(full[1], F_SETPIPE_SZ, SIZE)) == SIZE, "another size than asked for");
	CHECK(SYS(fcntl(empty[0], F_SETPIPE_SZ, SIZE)) == SIZE, "another size than asked for");
	test_fill(data, SIZE, SEED);
	fd_put(full[1], data, SIZE);
	test_daemon();
	test_waitsig();
	check_size(full[0], SIZE);
	check_size(full[1], SIZE);
	check_size(empty[0], SIZE);
	check_waiting(full[0], SIZE);
	check_waiting(empty[0], 0);
	check_events(full[1], POLLOUT, 0);
	memset(data, 0, SIZE);
	fd_get(full[0], data, SIZE);
	CHECK(test_differs(data, SIZE, SEED) == -1, "other bytes than those written");
	check_empty(full[0]);
	fd_put(full[1], data, SIZE);
	fd_put(empty[1], data, SIZE);
	CHECK(write(empty[1], data, 1) == -1 && errno == EAGAIN, "it takes more than before");
	pass();
}
