/*
 * title: ends of one FIFO by two names, by /proc, for a path only, with flags and size of their own
 * flavours: host ns userns
 */
#include "fifo.h"

#include "child.h"

enum { SIZE = 1 << 17, SEED = 8 };

static void check_link(int fd, const char *name)
{
	const char *want = test_path(name);
	char path[64], link[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = SYS(readlink(path, link, sizeof(link) - 1));
	link[n] = 0;
	/* In a namespace of its own the test knows the same name. */
	CHECK(!strcmp(link, want), "%d is %s, not %s", fd, link, want);
}

int main(int argc, char **argv)
{
	int both, reader, writer, path, named, by_proc, none;
	static char data[SIZE];
	char c;
	pid_t pid;

	test_init(argc, argv);
	fifo_make("fifo", 0600);
	SYS(link("fifo", "other"));
	both = fifo_open("fifo", O_RDWR);
	CHECK(SYS(fcntl(both, F_SETPIPE_SZ, SIZE)) == SIZE, "another size than asked for");
	reader = fifo_open("other", O_RDONLY | O_NOFOLLOW);
	writer = fifo_open("fifo", O_WRONLY | O_APPEND | O_NONBLOCK);
	path = fifo_open("other", O_PATH | O_CLOEXEC);
	by_proc = fd_open_again(reader, O_RDONLY | O_NONBLOCK);
	fifo_make("unopened", 0200);
	none = fifo_open("unopened", O_PATH | O_NOFOLLOW);
	named = SYS(dup(writer));
	test_fill(data, SIZE, SEED);
	fd_put(both, data, SIZE);
	pid = child_fork();
	if (!pid) {
		SYS(close(both));
		child_wait();
		check_flags(reader, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
		fd_put(writer, "child", 5);
		_exit(0);
	}
	child_await();
	test_daemon();
	test_waitsig();
	check_flags(both, O_RDWR, 0);
	check_flags(reader, O_RDONLY | O_NOFOLLOW, 0);
	check_flags(by_proc, O_RDONLY | O_NONBLOCK, 0);
	check_flags(writer, O_WRONLY | O_APPEND | O_NONBLOCK, 0);
	check_flags(path, O_PATH, FD_CLOEXEC);
	check_flags(none, O_PATH | O_NOFOLLOW, 0);
	check_link(both, "fifo");
	check_link(reader, "other");
	check_link(by_proc, "other");
	check_link(path, "other");
	check_name("unopened", none, 0200);
	check_same(both, reader);
	check_same(both, path);
	check_same(both, by_proc);
	check_size(reader, SIZE);
	check_waiting(reader, SIZE);
	CHECK(read(path, &c, 1) == -1 && errno == EBADF, "what is open for its path can be read");
	fd_get(reader, data, SIZE);
	CHECK(test_differs(data, SIZE, SEED) == -1, "other bytes than those written");
	check_empty(by_proc);
	SYS(fcntl(named, F_SETFL, O_NONBLOCK));
	check_flags(writer, O_WRONLY | O_NONBLOCK, 0);
	SYS(fcntl(reader, F_SETFL, O_NONBLOCK));
	child_go();
	test_reap(pid);
	fd_get(by_proc, data, 5);
	CHECK(!memcmp(data, "child", 5), "the child has written something else");
	pass();
}
