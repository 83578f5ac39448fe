/*
 * title: what a child writes to a deleted file by one descriptor the parent reads by another
 * flavours: host ns userns
 */
#include "child.h"
#include "files.h"

enum { SIZE = 100000 };

int main(int argc, char **argv)
{
	unsigned char *data = malloc(SIZE);
	int reads, writes;
	pid_t pid;

	test_init(argc, argv);
	CHECK(data, "out of memory");
	writes = file_make("file", SIZE / 2, 1);
	reads = SYS(open("file", O_RDONLY));
	SYS(unlink("file"));
	pid = child_fork();
	if (!pid) {
		SYS(close(reads));
		child_wait();
		test_fill(data, SIZE, 2);
		CHECK(pwrite(writes, data, SIZE, 0) == SIZE, "a short write");
		_exit(0);
	}
	SYS(close(writes));
	child_await();
	test_daemon();
	test_waitsig();
	file_position(reads, 0);
	file_holds(reads, SIZE / 2, 1);
	child_go();
	test_reap(pid);
	file_holds(reads, SIZE, 2);
	pass();
}
