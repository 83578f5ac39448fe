/*
 * title: pipes that are open for a path only: beside an end of theirs, and alone
 * flavours: host ns userns
 */
#include "fifo.h"

int main(int argc, char **argv)
{
	int fds[2], path, gone[2], alone, again;
	char got[8];

	test_init(argc, argv);
	SYS(pipe(fds));
	path = fd_open_again(fds[1], O_PATH | O_CLOEXEC);
	fd_put(fds[1], "content", 8);
	SYS(close(fds[1]));
	SYS(pipe(gone));
	alone = fd_open_again(gone[0], O_PATH);
	SYS(close(gone[0]));
	SYS(close(gone[1]));
	test_daemon();
	test_waitsig();
	check_flags(path, O_PATH, FD_CLOEXEC);
	check_flags(alone, O_PATH, 0);
	check_flags(fds[0], O_RDONLY, 0);
	check_same(path, fds[0]);
	CHECK(read(path, got, 1) == -1 && errno == EBADF, "what is open for its path can be read");
	fd_get(fds[0], got, 8);
	CHECK(!strcmp(got, "content"), "other bytes than those written");
	check_ended(fds[0]);
	/* Either leads to its pipe. */
	again = fd_open_again(path, O_WRONLY);
	fd_put(again, "x", 1);
	fd_get(fds[0], got, 1);
	again = fd_open_again(alone, O_RDWR);
	check_same(again, alone);
	fd_put(again, "y", 1);
	fd_get(again, got, 1);
	CHECK(*got == 'y', "%c instead of y", *got);
	pass();
}
