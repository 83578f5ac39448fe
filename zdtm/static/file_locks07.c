/*
 * title: overlapping ranges that four descriptions have read-locked are each one's own
 * flavours: host ns userns
 * opts: --file-locks
 */
#include "locks.h"

enum { FILES = 4 };

int main(int argc, char **argv)
{
	/* the last but one starts where the third ends, the last is inside of all */
	static const struct {
		off_t start, length;
		const char *listed;
	} range[FILES] = {
		{0, 20, "OFDLCK ADVISORY READ 0 19\n"},
		{10, 30, "OFDLCK ADVISORY READ 10 39\n"},
		{40, 0, "OFDLCK ADVISORY READ 40 EOF\n"},
		{15, 5, "OFDLCK ADVISORY READ 15 19\n"},
	};
	int fd[FILES], other, i;

	test_init(argc, argv);
	SYS(close(locks_file("file")));
	for (i = 0; i < FILES; i++) {
		fd[i] = SYS(open("file", O_RDWR));
		SYS(locks_set(fd[i], F_OFD_SETLK, F_RDLCK, range[i].start, range[i].length));
	}
	test_daemon();
	test_waitsig();
	other = SYS(open("file", O_RDWR));
	SYS(locks_set(other, F_OFD_SETLK, F_RDLCK, 0, 0));
	SYS(locks_set(other, F_OFD_SETLK, F_UNLCK, 0, 0));
	for (i = 0; i < FILES; i++) {
		locks_expect(fd[i], range[i].listed);
		CHECK(locks_set(other, F_OFD_SETLK, F_WRLCK, range[i].start, 1) == -1 && errno == EAGAIN,
		      "the start of range %d is free", i);
	}
	/* one after the other lets go, and what only it has locked becomes free */
	SYS(close(fd[3]));
	CHECK(locks_set(other, F_OFD_SETLK, F_WRLCK, 15, 5) == -1, "two ranges are gone with one");
	SYS(close(fd[0]));
	SYS(locks_set(other, F_OFD_SETLK, F_WRLCK, 0, 10));
	CHECK(locks_set(other, F_OFD_SETLK, F_WRLCK, 10, 1) == -1, "the second range is gone");
	SYS(close(fd[1]));
	SYS(locks_set(other, F_OFD_SETLK, F_WRLCK, 0, 40));
	CHECK(locks_set(other, F_OFD_SETLK, F_WRLCK, 1L << 62, 1) == -1, "the last range has an end");
	SYS(close(fd[2]));
	SYS(locks_set(other, F_OFD_SETLK, F_WRLCK, 0, 0));
	pass();
}
