/*
 * title: a full pipe with more than one description of its ends: only some have O_NONBLOCK
 * flavours: host ns userns
 */
#include "fifo.h"

enum { SEED = 31, SIZE = 65536 };

int main(int argc, char **argv)
{
	static char data[SIZE];
	int fds[2], reader, writer, reader2, writer2;
	char c = 0;

	test_init(argc, argv);
	SYS(pipe(fds));
	reader = SYS(dup(fds[0]));
	writer = SYS(dup(fds[1]));
	reader2 = fd_open_again(fds[0], O_RDONLY | O_NONBLOCK);
	writer2 = fd_open_again(fds[1], O_WRONLY | O_NONBLOCK);
	test_fill(data, SIZE, SEED);
	fd_put(writer2, data, SIZE);
	CHECK(write(writer2, &c, 1) == -1 && errno == EAGAIN, "the pipe is not full");
	test_daemon();
	test_waitsig();
	check_flags(fds[0], O_RDONLY, 0);
	check_flags(fds[1], O_WRONLY, 0);
	check_flags(reader, O_RDONLY, 0);
	check_flags(writer, O_WRONLY, 0);
	check_flags(reader2, O_RDONLY | O_NONBLOCK, 0);
	check_flags(writer2, O_WRONLY | O_NONBLOCK, 0);
	for (int i = 0; i < 2; i++) {
		check_same(fds[i], reader);
		check_same(fds[i], writer2);
	}
	CHECK(write(writer2, &c, 1) == -1 && errno == EAGAIN, "the pipe is not full");
	fd_get(reader, data, SIZE / 2);
	fd_get(reader2, data + SIZE / 2, SIZE / 2);
	CHECK(test_differs(data, SIZE, SEED) == -1, "other bytes than those written");
	check_empty(reader2);
	/* What is set of one is so of its duplicate, and of no other. */
	SYS(fcntl(reader, F_SETFL, O_NONBLOCK));
	check_flags(fds[0], O_RDONLY | O_NONBLOCK, 0);
	SYS(fcntl(writer2, F_SETFL, 0));
	check_flags(writer, O_WRONLY, 0);
	check_flags(fds[1], O_WRONLY, 0);
	SYS(fcntl(reader2, F_SETFL, 0));
	check_flags(reader, O_RDONLY | O_NONBLOCK, 0);
	pass();
}
