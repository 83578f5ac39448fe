/*
 * title: a read end that was opened again by /proc is a description of its own, and alone does not wait
 * flavours: host ns userns
 */
#include "fifo.h"

int main(int argc, char **argv)
{
	int fds[2], again, copy;
	char c;

	test_init(argc, argv);
	SYS(pipe(fds));
	copy = SYS(dup(fds[0]));
	again = fd_open_again(fds[0], O_RDONLY);
	SYS(fcntl(again, F_SETFL, O_NONBLOCK));
	test_daemon();
	test_waitsig();
	check_flags(fds[0], O_RDONLY, 0);
	check_flags(copy, O_RDONLY, 0);
	check_flags(fds[1], O_WRONLY, 0);
	check_flags(again, O_RDONLY | O_NONBLOCK, 0);
	check_same(fds[1], again);
	check_empty(again);
	fd_put(fds[1], "ab", 2);
	fd_get(again, &c, 1);
	CHECK(c == 'a', "%c instead of a", c);
	fd_get(copy, &c, 1);
	CHECK(c == 'b', "%c instead of b", c);
	/* Two descriptions of the reading end: one may be closed. */
	SYS(close(fds[0]));
	SYS(close(copy));
	fd_put(fds[1], "c", 1);
	fd_get(again, &c, 1);
	CHECK(c == 'c', "%c instead of c", c);
	SYS(close(fds[1]));
	check_ended(again);
	pass();
}
