/*
 * title: packets in a FIFO, and in a pipe that has O_DIRECT no more, stay apart
 * flavours: host ns userns
 */
#include "fifo.h"

enum { PACKETS = 4 };

static const char *const packets[PACKETS] = {"one", "fourteen", "x", "the last one"};

static void put_all(int fd, int flags)
{
	SYS(fcntl(fd, F_SETFL, O_DIRECT | O_NONBLOCK));
	for (int i = 0; i < PACKETS; i++)
		fd_put(fd, packets[i], strlen(packets[i]));
	SYS(fcntl(fd, F_SETFL, flags));
}

static void check_packets(int fd)
{
	char got[4096];

	for (int i = 0; i < PACKETS; i++) {
		ssize_t n = SYS(read(fd, got, sizeof(got))), want = (ssize_t)strlen(packets[i]);

		CHECK(n == want && !memcmp(got, packets[i], (size_t)n), "packet %d has %zd bytes, not %zd", i,
		      n, want);
	}
	check_empty(fd);
}

int main(int argc, char **argv)
{
	int fifo, fds[2], last[2];
	char got[16];

	test_init(argc, argv);
	fifo_make("fifo", 0600);
	fifo = fifo_open("fifo", O_RDWR);
	put_all(fifo, O_DIRECT | O_NONBLOCK);
	SYS(pipe2(fds, O_NONBLOCK));
	put_all(fds[1], O_NONBLOCK);
	/* One packet alone: the rest of it is gone when a part has been read. */
	SYS(pipe2(last, O_NONBLOCK | O_DIRECT));
	fd_put(last[1], "0123456789", 10);
	SYS(fcntl(last[1], F_SETFL, O_NONBLOCK));
	test_daemon();
	test_waitsig();
	check_flags(fifo, O_RDWR | O_NONBLOCK | O_DIRECT, 0);
	check_flags(fds[1], O_WRONLY | O_NONBLOCK, 0);
	check_flags(last[1], O_WRONLY | O_NONBLOCK, 0);
	check_packets(fifo);
	check_packets(fds[0]);
	CHECK(SYS(read(last[0], got, 4)) == 4 && !memcmp(got, "0123", 4), "other bytes than those written");
	check_empty(last[0]);
	fd_put(fifo, "ab", 2);
	fd_put(fifo, "cd", 2);
	CHECK(SYS(read(fifo, got, sizeof(got))) == 2, "what comes now has no packets");
	pass();
}
