/*
 * title: a file that is half read is read on from the same place
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

enum { SIZE = 1 << 20, FIRST = SIZE / 2 - 77 };

static unsigned char written[SIZE], data[SIZE + 1];

int main(int argc, char **argv)
{
	long at;
	int fd;

	test_init(argc, argv);
	test_fill(written, SIZE, 2);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
	CHECK(write(fd, written, SIZE) == SIZE, "short write");
	SYS(close(fd));
	fd = SYS(open("file", O_RDONLY));
	CHECK(read(fd, data, FIRST) == FIRST, "short read");
	test_daemon();
	test_waitsig();
	at = SYS(lseek(fd, 0, SEEK_CUR));
	CHECK(at == FIRST, "the position is %ld instead of %d", at, FIRST);
	at = SYS(read(fd, data + FIRST, sizeof(data) - FIRST));
	CHECK(at == SIZE - FIRST, "%ld bytes instead of %d were left to read", at, SIZE - FIRST);
	at = test_differs(data, SIZE, 2);
	CHECK(at < 0, "byte %ld differs", at);
	CHECK(write(fd, data, 1) < 0 && errno == EBADF, "a file opened for reading takes a write");
	pass();
}
