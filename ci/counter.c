/*
 * The demonstration's program: fills memory, then counts into an open file, ten times a second.
 * Every line is written only after all of the memory was found as it was filled.
 *
 *   counter FILE MIB
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec tick = {.tv_nsec = 100 * 1000 * 1000};
	size_t words;
	uint64_t *memory;
	int fd;

	if (argc != 3)
		return 2;
	words = strtoul(argv[2], NULL, 10) * (1 << 20) / sizeof(*memory);
	memory = malloc(words * sizeof(*memory));
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (!memory || fd < 0)
		return 3;
	for (size_t i = 0; i < words; i++)
		memory[i] = i * 0x9e3779b97f4a7c15;
	for (unsigned long count = 1;; count++) {
		for (size_t i = 0; i < words; i++)
			if (memory[i] != i * 0x9e3779b97f4a7c15)
				return 4;
		if (dprintf(fd, "%lu\n", count) < 0)
			return 5;
		nanosleep(&tick, NULL);
	}
}
