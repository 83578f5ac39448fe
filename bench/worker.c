/*
 * The benchmark's process. worker MIB FILE: touches MIB mebibytes, then spins on the clock and keeps the
 * largest gap that it has seen, in ns, in FILE (mapped: [0] largest gap, [1] rounds), until it is killed.
 * Writing 0 to [0] starts anew.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	int fd = argc > 2 ? open(argv[2], O_RDWR | O_CREAT, 0600) : -1;
	uint64_t *memory, last;
	volatile uint64_t *shared;

	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memory = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
	if (shared == MAP_FAILED || memory == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < size / 8; i++)
		memory[i] = i * 0x9e3779b97f4a7c15u;
	close(fd);
	last = now();
	for (;;) {
		uint64_t t = now();

		if (t - last > shared[0])
			shared[0] = t - last;
		last = t;
		shared[1]++;
	}
}
