/*
 * title: asynchronous reads by a thread of the C library's (aio(7)) all end, with every byte
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <aio.h>
#include <fcntl.h>
#include <unistd.h>

enum { SIZE = 64 << 10, AT_ONCE = 4 };

static char content[SIZE], got[AT_ONCE][SIZE];

int main(int argc, char **argv)
{
	long rounds = 0;
	int fd;

	test_init(argc, argv);
	test_fill(content, SIZE, 1);
	fd = SYS(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
	CHECK(write(fd, content, SIZE) == SIZE, "write: %m");
	test_daemon();
	for (; test_go() || !rounds; rounds++) {
		struct aiocb requests[AT_ONCE];

		for (int i = 0; i < AT_ONCE; i++) {
			memset(got[i], 0, SIZE);
			requests[i] = (struct aiocb){.aio_fildes = fd, .aio_buf = got[i], .aio_nbytes = SIZE};
			SYS(aio_read(&requests[i]));
		}
		for (int i = 0; i < AT_ONCE; i++) {
			const struct aiocb *waited = &requests[i];
			ssize_t n;

			while (aio_error(waited) == EINPROGRESS)
				CHECK(!aio_suspend(&waited, 1, NULL) || errno == EINTR, "aio_suspend: %m");
			n = aio_return(&requests[i]);
			CHECK(n == SIZE, "round %ld: request %d has read %zd bytes", rounds, i, n);
			CHECK(test_differs(got[i], SIZE, 1) < 0, "round %ld: request %d: wrong bytes", rounds,
			      i);
		}
	}
	pass();
}
