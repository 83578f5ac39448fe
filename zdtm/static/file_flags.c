/*
 * title: flags of open files are kept, and what opening does once is not done again
 * flavours: host ns userns
 */
#include "files.h"

static const int flags[] = {
	O_RDWR | O_CREAT | O_TRUNC,
	O_RDWR | O_CREAT | O_EXCL,
	O_WRONLY | O_APPEND | O_NONBLOCK,
	O_RDWR | O_SYNC,
	O_RDWR | O_DSYNC | O_CLOEXEC,
	O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NOCTTY,
	O_RDONLY | O_DIRECT,
	3, /* for ioctl(2) only: open(2) */
};

enum { COUNT = sizeof(flags) / sizeof(*flags), SIZE = 777 };

int main(int argc, char **argv)
{
	int fds[COUNT], seen[COUNT], now;
	unsigned char data[SIZE];
	char name[32];

	test_init(argc, argv);
	test_fill(data, SIZE, 1);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		if (!(flags[i] & O_EXCL))
			SYS(close(file_make(name, SIZE, 1)));
		fds[i] = open(name, flags[i], 0600);
		if (fds[i] < 0 && errno == EINVAL && flags[i] & O_DIRECT)
			fds[i] = SYS(open(name, flags[i] & ~O_DIRECT, 0600));
		CHECK(fds[i] >= 0, "%s: %m", name);
		if (flags[i] & (O_EXCL | O_TRUNC))
			CHECK(write(fds[i], data, SIZE) == SIZE, "a short write");
		seen[i] = (int)file_info(fds[i], "flags:\t", 8);
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < COUNT; i++) {
		now = (int)file_info(fds[i], "flags:\t", 8);
		CHECK(now == seen[i], "file-%d: flags %o, were %o", i, now, seen[i]);
		snprintf(name, sizeof(name), "file-%d", i);
		CHECK(file_stat(fds[i]).st_size == SIZE, "%s was cut", name);
		file_holds(SYS(open(name, O_RDONLY)), SIZE, 1);
	}
	/* Appended wherever the position is. */
	CHECK(pwrite(fds[2], "x", 1, 0) == 1 && file_stat(fds[2]).st_size == SIZE + 1,
	      "it is not appended to");
	pass();
}
