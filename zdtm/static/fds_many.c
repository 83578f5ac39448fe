/*
 * title: as many descriptors as 100,000, or as the limit leaves room for: files, pipes, duplicates
 * flavours: host ns userns
 * timeout: 120
 */
#include "fifo.h"

#include <sys/resource.h>

enum { MOST = 100000, GROUP = 5, FIRST = 3 };

/* Of each five a file, a duplicate of it that is closed by exec, both ends of a pipe, and the first file
 * again. */
static void open_group(int i)
{
	int at = FIRST + i * GROUP, fds[2], file = SYS(open("file", O_RDWR));

	CHECK(file == at, "%d instead of %d", file, at);
	SYS(lseek(file, i, SEEK_SET));
	SYS(fcntl(file, F_DUPFD_CLOEXEC, at + 1));
	SYS(pipe2(fds, O_NONBLOCK));
	CHECK(fds[0] == at + 2 && fds[1] == at + 3, "a pipe has the numbers %d and %d", fds[0], fds[1]);
	if (i % 2)
		fd_put(fds[1], &i, sizeof(i));
	SYS(dup2(FIRST, at + 4));
}

static void check_group(int i)
{
	int at = FIRST + i * GROUP, value = -1;
	off_t position = SYS(lseek(at, 0, SEEK_CUR));

	CHECK(position == i, "%d is at %ld", at, position);
	check_flags(at, O_RDWR, 0);
	check_flags(at + 1, O_RDWR, FD_CLOEXEC);
	check_flags(at + 2, O_RDONLY | O_NONBLOCK, 0);
	check_flags(at + 3, O_WRONLY | O_NONBLOCK, 0);
	if (i % 2) {
		fd_get(at + 2, &value, sizeof(value));
		CHECK(value == i, "pipe %d has %d in it", i, value);
	}
	check_empty(at + 2);
	fd_put(at + 3, "", 1);
	check_waiting(at + 2, 1);
	CHECK(SYS(lseek(at + 4, 0, SEEK_CUR)) == 0, "%d is not the first file", at + 4);
	/* One description, two numbers. */
	SYS(lseek(at + 1, i + 7, SEEK_SET));
	CHECK(SYS(lseek(at, 0, SEEK_CUR)) == i + 7, "%d and %d are two files", at, at + 1);
	SYS(lseek(at, i, SEEK_SET));
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	int groups;

	test_init(argc, argv);
	SYS(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	SYS(setrlimit(RLIMIT_NOFILE, &limit));
	/* An engine that has each of them open once needs some more than that. */
	groups = (int)(limit.rlim_max < MOST * 2 ? limit.rlim_max * 3 / 5 : MOST) / GROUP;
	SYS(close(SYS(open("file", O_RDWR | O_CREAT, 0600))));
	for (int i = 0; i < groups; i++)
		open_group(i);
	test_daemon();
	test_waitsig();
	for (int i = 0; i < groups; i++)
		check_group(i);
	pass();
}
