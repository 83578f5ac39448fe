/*
 * title: positions far behind the end, up to the largest, of files that are there and that are deleted
 * flavours: host ns userns
 */
#include "files.h"

/* The largest position that a file system has: by bisection, since it tells nobody. */
static off_t largest(int fd)
{
	off_t low = 0, high = INT64_MAX;

	while (low < high) {
		off_t middle = low + (high - low) / 2 + (high - low) % 2;

		if (lseek(fd, middle, SEEK_SET) == middle)
			low = middle;
		else
			high = middle - 1;
	}
	SYS(lseek(fd, low, SEEK_SET));
	return low;
}

int main(int argc, char **argv)
{
	int kept, gone, memory;
	off_t max;

	test_init(argc, argv);
	kept = file_make("kept", 100, 1);
	gone = file_make("gone", 100, 1);
	SYS(unlink("gone"));
	max = largest(kept);
	CHECK(max > (off_t)1 << 32 && largest(gone) == max, "the largest position is %ld", (long)max);
	/* Addresses of memory are positions too. */
	memory = SYS(open("/proc/self/mem", O_RDONLY));
	SYS(lseek(memory, (off_t)&max, SEEK_SET));
	test_daemon();
	test_waitsig();
	file_position(kept, max);
	file_position(gone, max);
	file_position(memory, (off_t)&max);
	CHECK(file_stat(kept).st_size == 100 && file_stat(gone).st_size == 100, "they have grown");
	CHECK(write(kept, "x", 1) < 0, "a byte is written behind the largest position");
	pass();
}
