/*
 * title: thirteen children write into pipes that an epoll watches, all the while; nothing is lost
 * flavours: host ns userns
 * ignore: positions
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "zdtm.h"

enum { CHILDREN = 13 };

/* Numbers from 0 on, each once, until it is told to stop; then how many these were, by the length of the
 * pipe's end. */
static _Noreturn void child(int fd, uint32_t *stop, uint32_t *sent)
{
	uint32_t n = 0;

	while (!__atomic_load_n(stop, __ATOMIC_SEQ_CST)) {
		CHECK(SYS(write(fd, &n, sizeof(n))) == sizeof(n), "a short write");
		n++;
	}
	*sent = n;
	_exit(0);
}

int main(int argc, char **argv)
{
	struct {
		uint32_t stop, sent[CHILDREN];
	} *shared;
	int ep, ends[CHILDREN][2], i, j, n, open = CHILDREN;
	struct epoll_event events[4], event;
	uint32_t next[CHILDREN] = {0}, got;
	pid_t pids[CHILDREN];
	ssize_t size;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	ep = SYS(epoll_create1(0));
	for (i = 0; i < CHILDREN; i++) {
		SYS(pipe(ends[i]));
		pids[i] = SYS(fork());
		if (!pids[i]) {
			for (j = 0; j <= i; j++)
				SYS(close(ends[j][0]));
			child(ends[i][1], &shared->stop, &shared->sent[i]);
		}
		SYS(close(ends[i][1]));
		event = (struct epoll_event){.events = EPOLLIN | (i % 2 ? EPOLLONESHOT : 0),
					     .data.u32 = (uint32_t)i};
		SYS(epoll_ctl(ep, EPOLL_CTL_ADD, ends[i][0], &event));
	}
	test_daemon();
	while (open) {
		if (!test_go())
			__atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
		n = epoll_wait(ep, events, 4, 10000);
		CHECK(n > 0 || (n == -1 && errno == EINTR), "epoll_wait returns %d", n);
		for (j = 0; j < n; j++) {
			i = (int)events[j].data.u32;
			size = SYS(read(ends[i][0], &got, sizeof(got)));
			if (!size) {
				SYS(epoll_ctl(ep, EPOLL_CTL_DEL, ends[i][0], NULL));
				SYS(close(ends[i][0]));
				open--;
				continue;
			}
			CHECK(size == sizeof(got) && got == next[i], "child %d: %u, not %u", i, got, next[i]);
			next[i]++;
			event = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT,
						     .data.u32 = (uint32_t)i};
			if (i % 2)
				SYS(epoll_ctl(ep, EPOLL_CTL_MOD, ends[i][0], &event));
		}
	}
	for (i = 0; i < CHILDREN; i++) {
		test_reap(pids[i]);
		CHECK(next[i] == shared->sent[i], "child %d: %u of %u", i, next[i], shared->sent[i]);
	}
	pass();
}
