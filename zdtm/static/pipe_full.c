/*
 * title: full pipes stay full, whatever their size, and a writer that waits for room comes last
 * flavours: host ns userns
 */
#include "fifo.h"

enum { SEED = 3, LARGE = 256 * 1024, SMALL = 4096, DEFAULT = 64 * 1024, EXTRA = 5000 };

struct filled {
	int fds[2], size;
	char *data;
};

static void fill_up(struct filled *pipe, int size, int flags)
{
	int waiting;

	SYS(pipe2(pipe->fds, flags));
	SYS(fcntl(pipe->fds[1], F_SETPIPE_SZ, size));
	pipe->size = size;
	pipe->data = malloc((size_t)size + EXTRA);
	test_fill(pipe->data, (size_t)size + EXTRA, SEED + (uint32_t)size);
	CHECK(SYS(write(pipe->fds[1], pipe->data, (size_t)size)) == size, "a short write");
	SYS(ioctl(pipe->fds[0], FIONREAD, &waiting));
	CHECK(waiting == size, "%d bytes are in a pipe of %d", waiting, size);
}

static void check_full(struct filled *pipe)
{
	struct pollfd event = {.fd = pipe->fds[1], .events = POLLOUT};
	int size = SYS(fcntl(pipe->fds[0], F_GETPIPE_SZ)), waiting;

	SYS(ioctl(pipe->fds[0], FIONREAD, &waiting));
	CHECK(size == pipe->size && waiting == size, "a pipe of %d now has %d of %d bytes", pipe->size,
	      waiting, size);
	CHECK(SYS(poll(&event, 1, 0)) == 0, "there is room in a full pipe: events %#x", event.revents);
}

static void empty(struct filled *pipe, int bytes)
{
	char *got = malloc((size_t)bytes);
	ssize_t n;
	int done;

	for (done = 0; done < bytes; done += (int)n) {
		n = SYS(read(pipe->fds[0], got + done, (size_t)(bytes - done)));
		CHECK(n > 0, "end of file after %d bytes", done);
	}
	CHECK(!memcmp(got, pipe->data, (size_t)bytes), "other bytes than those written to a pipe of %d",
	      pipe->size);
	free(got);
}

static _Noreturn void writer(struct filled *pipe)
{
	/* It waits for room, and is dumped while it does: it comes behind what was there before. */
	CHECK(SYS(write(pipe->fds[1], pipe->data + pipe->size, EXTRA)) == EXTRA, "a short write");
	_exit(0);
}

int main(int argc, char **argv)
{
	struct filled large, small, waited;
	pid_t pid;

	test_init(argc, argv);
	fill_up(&large, LARGE, O_NONBLOCK);
	fill_up(&small, SMALL, O_NONBLOCK);
	fill_up(&waited, DEFAULT, 0);
	pid = SYS(fork());
	if (!pid)
		writer(&waited);
	await_sleep(pid);
	test_daemon();
	test_waitsig();
	check_full(&large);
	check_full(&small);
	check_full(&waited);
	CHECK(write(large.fds[1], "", 1) == -1 && errno == EAGAIN, "a full pipe takes more");
	CHECK(write(small.fds[1], "", 1) == -1 && errno == EAGAIN, "a full pipe takes more");
	empty(&large, LARGE);
	CHECK(SYS(write(large.fds[1], large.data, LARGE)) == LARGE, "it takes less than before");
	empty(&small, SMALL);
	empty(&waited, DEFAULT + EXTRA);
	test_reap(pid);
	pass();
}
