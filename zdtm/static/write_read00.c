/*
 * title: a file that was written and closed holds what was written
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char data[1 << 20];

int main(int argc, char **argv)
{
	struct stat found;
	long at;
	int fd;

	test_init(argc, argv);
	test_fill(data, sizeof(data), 1);
	fd = SYS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
	CHECK(write(fd, data, sizeof(data)) == sizeof(data), "short write");
	SYS(close(fd));
	test_daemon();
	test_waitsig();
	memset(data, 0, sizeof(data));
	fd = SYS(open("file", O_RDONLY));
	SYS(fstat(fd, &found));
	CHECK(found.st_size == sizeof(data), "the file has %ld bytes", (long)found.st_size);
	CHECK(read(fd, data, sizeof(data)) == sizeof(data), "short read");
	at = test_differs(data, sizeof(data), 1);
	CHECK(at < 0, "byte %ld differs", at);
	pass();
}
