/*
 * title: a child that waits in read(2) for what its parent, with the only write end of a FIFO, will write
 * flavours: host ns userns
 */
#include "fifo.h"

static const char text[] = "what the child waits for";

static _Noreturn void child(void)
{
	int fd = fifo_open("fifo", O_RDONLY);
	char got[sizeof(text)];

	CHECK(SYS(read(fd, got, sizeof(got))) == sizeof(text), "the child: a short read");
	CHECK(!memcmp(got, text, sizeof(text)), "the child: other bytes than those written");
	check_ended(fd);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;
	int fd;

	test_init(argc, argv);
	fifo_make("fifo", 0620);
	pid = SYS(fork());
	if (!pid)
		child();
	fd = fifo_open("fifo", O_WRONLY);
	await_sleep(pid);
	test_daemon();
	test_waitsig();
	check_flags(fd, O_WRONLY, 0);
	check_name("fifo", fd, 0620);
	check_events(fd, POLLOUT, POLLOUT);
	fd_put(fd, text, sizeof(text));
	SYS(close(fd));
	test_reap(pid);
	pass();
}
