/*
 * title: a child that was born with its parent's contexts of asynchronous I/O does not hinder them
 * flavours: host ns userns
 * flags: suid
 * needs: aio_remap
 */
#include "aio.h"

#include <sys/mman.h>

enum { SIZE = 64 * 4096 };

int main(int argc, char **argv)
{
	struct ring *ours, *theirs;
	unsigned char *memory;
	uint32_t *words;
	pid_t child;
	int fd;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	fd = SYS(open("/dev/null", O_WRONLY));
	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory, SIZE, 1);
	ours = aio_make(10);
	aio_write(ours, fd, 3, 100);
	child = SYS(fork());
	if (!child) {
		theirs = aio_make(10);
		aio_write(theirs, fd, 5, 200);
		aio_reap(theirs, 2, 200);
		test_post(&words[0]);
		test_await(&words[1], 1);
		aio_write(theirs, fd, 1, 205);
		aio_reap(theirs, 4, 202);
		aio_is_empty(theirs);
		CHECK(test_differs(memory, SIZE, 1) < 0, "the child's memory");
		_exit(0);
	}
	test_await(&words[0], 1);
	test_daemon();
	test_waitsig();
	test_post(&words[1]);
	test_reap(child);
	aio_write(ours, fd, 1, 103);
	aio_reap(ours, 4, 100);
	aio_is_empty(ours);
	CHECK(test_differs(memory, SIZE, 1) < 0, "the memory");
	pass();
}
