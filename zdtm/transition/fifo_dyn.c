/*
 * title: parent and child with a FIFO each way that they open and close anew all the time
 * flavours: host ns userns
 * ignore: descriptors
 */
#include "fifo.h"

#include <sched.h>
#include <signal.h>

enum { SIZE = 5000 };

/* Who opens one end lets who opens the other go on, even if it is interrupted then and begins anew (fifo(7)).
 */
static void put(const char *name, const char *data)
{
	int fd = fifo_open(name, O_WRONLY);
	ssize_t n;

	while ((n = write(fd, data, SIZE)) < 0 && (errno == EPIPE || errno == EINTR))
		sched_yield();
	CHECK(n == SIZE, "%zd of %d bytes go into %s: %m", n, SIZE, name);
	SYS(close(fd));
}

/* False if nothing comes any more. */
static bool get(const char *name, char *data, uint32_t *ended)
{
	int fd = fifo_open(name, O_RDONLY);
	ssize_t n;

	while (!(n = RETRY(read(fd, data, 1)))) {
		if (__atomic_load_n(ended, __ATOMIC_SEQ_CST))
			return false;
		sched_yield();
	}
	fd_get(fd, data + 1, SIZE - 1);
	check_ended(fd);
	SYS(close(fd));
	return true;
}

static _Noreturn void child(uint32_t *ended)
{
	char data[SIZE];

	for (uint32_t round = 0; get("down", data, ended); round++) {
		CHECK(test_differs(data, SIZE, round) == -1, "round %u: other bytes come down", round);
		test_fill(data, SIZE, ~round);
		put("up", data);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	char data[SIZE];
	uint32_t *ended;
	pid_t pid;

	test_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	ended = test_shared(sizeof(*ended));
	fifo_make("down", 0600);
	fifo_make("up", 0600);
	pid = SYS(fork());
	if (!pid)
		child(ended);
	test_daemon();
	for (uint32_t round = 0; test_go() || round < 10; round++) {
		test_fill(data, SIZE, round);
		put("down", data);
		CHECK(get("up", data, ended), "round %u: nothing comes up", round);
		CHECK(test_differs(data, SIZE, ~round) == -1, "round %u: other bytes come up", round);
	}
	test_post(ended);
	SYS(close(fifo_open("down", O_WRONLY)));
	test_reap(pid);
	pass();
}
