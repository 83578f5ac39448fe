/*
 * title: a child that polls a pipe for a while is not kept any longer than that
 * flavours: host
 */
#include "zdtm.h"

#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* Dumped when some of it has passed: a poll that begins anew takes longer than the rest and the slack. */
enum { POLL_MS = 5000, PASSED_MS = 2000, SLACK_MS = 1000 };

struct shared {
	uint32_t polling;
	long returned; /* ms */
};

static _Noreturn void child(struct shared *shared, int fd)
{
	struct pollfd event = {.fd = fd, .events = POLLIN};
	long started = test_now_ms();
	int ready;

	test_post(&shared->polling);
	ready = poll(&event, 1, POLL_MS);
	shared->returned = test_now_ms();
	CHECK(ready == 0 || (ready < 0 && errno == EINTR), "poll returned %d: %m, events %#x", ready,
	      event.revents);
	CHECK(ready < 0 || shared->returned - started >= POLL_MS - 5, "poll took %ld ms",
	      shared->returned - started);
	_exit(0);
}

int main(int argc, char **argv)
{
	const struct timespec passed = {PASSED_MS / 1000, PASSED_MS % 1000 * 1000000};
	struct shared *shared;
	long asked;
	pid_t pid;
	int fds[2];

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	SYS(pipe(fds));
	pid = SYS(fork());
	if (!pid)
		child(shared, fds[0]);
	test_await(&shared->polling, 1);
	SYS(nanosleep(&passed, NULL));
	test_daemon();
	test_waitsig();
	asked = test_now_ms();
	test_reap(pid);
	CHECK(shared->returned <= asked + POLL_MS - PASSED_MS + SLACK_MS, "poll ended %ld ms after the end",
	      shared->returned - asked - (POLL_MS - PASSED_MS));
	pass();
}
