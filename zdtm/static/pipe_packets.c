/*
 * title: packets in a pipe (O_DIRECT) stay apart, behind bytes that were written before it had packets
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

enum { SEED = 9, HALF = 3000, STREAM = 2 * HALF, PACKETS = 5 };

static const int sizes[PACKETS] = {2000, 1, 4096, 17, 2};

static void check_read(int fd, const char *data, int room, int want)
{
	char got[2 * STREAM];
	ssize_t n = SYS(read(fd, got, (size_t)room));

	CHECK(n == want, "%zd bytes, not %d", n, want);
	CHECK(!memcmp(got, data, (size_t)want), "other bytes than those written");
}

int main(int argc, char **argv)
{
	char stream[STREAM], data[PACKETS][4096], c;
	int mixed[2], packets[2], i;

	test_init(argc, argv);
	test_fill(stream, STREAM, SEED);
	SYS(pipe2(packets, O_DIRECT | O_NONBLOCK));
	SYS(pipe2(mixed, O_NONBLOCK));
	/* In two writes, which a read joins; the first packet has no room in the page of the second. */
	CHECK(SYS(write(mixed[1], stream, HALF)) == HALF, "a short write");
	CHECK(SYS(write(mixed[1], stream + HALF, HALF)) == HALF, "a short write");
	SYS(fcntl(mixed[1], F_SETFL, O_DIRECT | O_NONBLOCK));
	for (i = 0; i < PACKETS; i++) {
		test_fill(data[i], sizeof(data[i]), SEED + 1 + (uint32_t)i);
		CHECK(SYS(write(packets[1], data[i], (size_t)sizes[i])) == sizes[i], "a short write");
		CHECK(SYS(write(mixed[1], data[i], (size_t)sizes[i])) == sizes[i], "a short write");
	}
	test_daemon();
	test_waitsig();
	CHECK(SYS(fcntl(packets[0], F_GETFL)) == (O_RDONLY | O_NONBLOCK), "flags %#o",
	      fcntl(packets[0], F_GETFL));
	CHECK(SYS(fcntl(mixed[1], F_GETFL)) == (O_WRONLY | O_DIRECT | O_NONBLOCK), "flags %#o",
	      fcntl(mixed[1], F_GETFL));
	check_read(mixed[0], stream, 10, 10);
	check_read(mixed[0], stream + 10, STREAM - 10, STREAM - 10);
	for (i = 0; i < PACKETS; i++) {
		check_read(packets[0], data[i], 4096, sizes[i]);
		/* What there is no room for is lost. */
		check_read(mixed[0], data[i], sizes[i] > 2 ? sizes[i] - 1 : 4096,
			   sizes[i] > 2 ? sizes[i] - 1 : sizes[i]);
	}
	CHECK(read(packets[0], &c, 1) == -1 && errno == EAGAIN, "there is more than the packets");
	CHECK(read(mixed[0], &c, 1) == -1 && errno == EAGAIN, "there is more than the packets");
	CHECK(SYS(write(packets[1], data, 3)) == 3 && SYS(write(packets[1], data, 5)) == 5, "a short write");
	check_read(packets[0], data[0], 4096, 3);
	check_read(packets[0], data[0], 4096, 5);
	pass();
}
