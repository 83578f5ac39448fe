/*
 * title: a file that is half written is written on from the same place
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <unistd.h>

enum { SIZE = 1 << 20, FIRST = SIZE / 2 + 77 };

static unsigned char data[SIZE + 1];

int main(int argc, char **argv)
{
	long at;
	int fd;

	test_init(argc, argv);
	test_fill(data, SIZE, 3);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
	CHECK(write(fd, data, FIRST) == FIRST, "short write");
	test_daemon();
	test_waitsig();
	CHECK(write(fd, data + FIRST, SIZE - FIRST) == SIZE - FIRST, "short write");
	CHECK(read(fd, data, 1) < 0 && errno == EBADF, "a file opened for writing can be read");
	SYS(close(fd));
	memset(data, 0, sizeof(data));
	fd = SYS(open("file", O_RDONLY));
	at = SYS(read(fd, data, sizeof(data)));
	CHECK(at == SIZE, "the file has %ld bytes instead of %d", at, SIZE);
	at = test_differs(data, SIZE, 3);
	CHECK(at < 0, "byte %ld differs", at);
	pass();
}
