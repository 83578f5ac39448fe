/*
 * title: events of asynchronous I/O that nobody has reaped stay, also in a ring where they wrap round
 * flavours: host ns userns
 * flags: suid
 * needs: aio_remap
 */
#include "aio.h"

enum { KINDS = 4, REQUESTS = 100 };

static bool try_write(struct ring *ring, int fd)
{
	struct iocb request = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd}, *it = &request;
	long done = syscall(SYS_io_submit, ring, 1, &it);

	CHECK(done == 1 || errno == EAGAIN, "io_submit: %ld, %m", done);
	return done == 1;
}

int main(int argc, char **argv)
{
	struct ring *rings[KINDS], before[KINDS];
	unsigned unread[KINDS], room;
	int fd;

	test_init(argc, argv);
	fd = SYS(open("/dev/null", O_WRONLY));
	for (int i = 0; i < KINDS; i++) {
		struct ring *ring = rings[i] = aio_make(REQUESTS);
		/* reaped: none; some; most, so that what is unread wraps; more than a whole round */
		unsigned reaped[KINDS] = {0, 20, ring->nr - 10, 2 * ring->nr + 30};

		unread[i] = i == 3 ? ring->nr / 2 : 30;
		for (unsigned n = 0; n < reaped[i]; n++) {
			aio_write(ring, fd, 1, 5);
			aio_reap(ring, 1, 5);
		}
		aio_write(ring, fd, unread[i], 1000 * (unsigned)i);
		before[i] = *ring;
		CHECK((ring->tail - ring->head + ring->nr) % ring->nr == unread[i],
		      "the kernel's ring is another");
		CHECK((ring->tail < ring->head) == (i == 2), "wrapped at the wrong place");
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++) {
		struct ring *ring = rings[i], *was = &before[i];

		CHECK(ring->nr == was->nr && ring->head == was->head && ring->tail == was->tail,
		      "%d: %u events, head %u, tail %u, were %u, %u, %u", i, ring->nr, ring->head, ring->tail,
		      was->nr, was->head, was->tail);
		aio_write(ring, fd, 1, 1000 * (unsigned)i + unread[i]);
		CHECK(ring->head == was->head && ring->tail == (was->tail + 1) % was->nr,
		      "%d: one event more, and head %u, tail %u", i, ring->head, ring->tail);
		aio_reap(ring, unread[i] + 1, 1000 * (unsigned)i);
		aio_is_empty(ring);
		/* There is room for as many as were asked for, and not for more than the ring holds. */
		for (room = 0; room < ring->nr && try_write(ring, fd); room++)
			continue;
		CHECK(room >= REQUESTS && room < ring->nr, "%d: room for %u of %u", i, room, ring->nr);
	}
	pass();
}
