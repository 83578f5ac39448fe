/* Asynchronous I/O by system calls (io_setup(2)), and the ring that a context is. */
#ifndef AIO_H
#define AIO_H

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

/* What the kernel puts at the start of a context's mapping. */
struct ring {
	uint32_t id, nr, head, tail, magic, compat, incompat, header_length;
	struct io_event events[];
};

static inline struct ring *aio_make(unsigned requests)
{
	aio_context_t context = 0;
	struct ring *ring;

	SYS(syscall(SYS_io_setup, requests, &context));
	ring = (struct ring *)context; /* NOLINT: that is what it is */
	CHECK(ring->magic == 0xa10a10a1, "no ring");
	return ring;
}

/* `count` writes of a byte to a descriptor; event by event they have the data first, first + 1, ... */
static inline void aio_write(struct ring *ring, int fd, unsigned count, uint64_t first)
{
	static char byte;

	for (unsigned i = 0; i < count; i++) {
		struct iocb request = {.aio_lio_opcode = IOCB_CMD_PWRITE,
				       .aio_fildes = (uint32_t)fd,
				       .aio_buf = (uint64_t)&byte,
				       .aio_nbytes = 1,
				       .aio_data = first + i},
			    *requests = &request;

		CHECK(SYS(syscall(SYS_io_submit, ring, 1, &requests)) == 1, "not submitted");
	}
}

/* So many events, without waiting, have to be there, of these data in this order. */
static inline void aio_reap(struct ring *ring, unsigned count, uint64_t first)
{
	struct timespec now = {0};

	for (unsigned i = 0; i < count; i++) {
		struct io_event event = {0};

		CHECK(SYS(syscall(SYS_io_getevents, ring, 1, 1, &event, &now)) == 1, "event %u is missing",
		      i);
		CHECK(event.data == first + i && event.res == 1, "event %u: data %lu, result %ld", i,
		      (unsigned long)event.data, (long)event.res);
	}
}

static inline void aio_is_empty(struct ring *ring)
{
	struct timespec now = {0};
	struct io_event event;

	CHECK(!SYS(syscall(SYS_io_getevents, ring, 0, 1, &event, &now)), "an event out of nothing");
}

#endif
