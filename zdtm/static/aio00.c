/*
 * title: contexts of asynchronous I/O without events stay so, and work
 * flavours: host ns userns
 * flags: suid
 * needs: aio_remap
 */
#include "aio.h"

int main(int argc, char **argv)
{
	struct ring *small, *gone, *large;
	unsigned nr;
	int fd;

	test_init(argc, argv);
	/* The second of three is gone: those that are left are not the kernel's first and second. */
	small = aio_make(1);
	gone = aio_make(1);
	large = aio_make(1000);
	SYS(syscall(SYS_io_destroy, gone));
	nr = large->nr;
	test_daemon();
	test_waitsig();
	CHECK(large->nr == nr && nr > small->nr, "%u and %u events", small->nr, large->nr);
	aio_is_empty(small);
	aio_is_empty(large);
	CHECK(syscall(SYS_io_destroy, gone) == -1 && errno == EINVAL, "the destroyed one is back");
	fd = SYS(open("/dev/null", O_WRONLY));
	aio_write(small, fd, 1, 7);
	aio_write(large, fd, 2, 8);
	aio_reap(large, 2, 8);
	aio_reap(small, 1, 7);
	SYS(syscall(SYS_io_destroy, small));
	SYS(syscall(SYS_io_destroy, large));
	pass();
}
