/*
 * command FIGURES PROGRAM ARGUMENT... runs a command and writes what it took: wall time in ns, and the most
 * memory that it had at a time, in KiB. (A process that the benchmark itself starts would inherit its
 * memory's high-water.) command floor MEMORY-TO-FILE|FILE-TO-MEMORY FILE MIB is the least that a dump or a
 * restore can take: a plain copy of as many bytes, by as many threads as there are processors; it prints ns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE	    (1ul << 20)
#define THREADS_MAX 64

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

struct share {
	pthread_t thread;
	char *memory;
	size_t start, end;
	int fd, load;
};

static void *copy(void *arg)
{
	struct share *s = arg;

	for (size_t at = s->start; at < s->end; at += PIECE) {
		ssize_t n = s->load ? pread(s->fd, s->memory + at, PIECE, at)
				    : pwrite(s->fd, s->memory + at, PIECE, at);

		if (n != (ssize_t)PIECE)
			exit(3);
	}
	return NULL;
}

static int lay_floor(const char *which, const char *file, size_t mib)
{
	int load = !strcmp(which, "file-to-memory");
	int fd = open(file, load ? O_RDONLY : O_RDWR | O_CREAT | O_TRUNC, 0600);
	long threads = sysconf(_SC_NPROCESSORS_ONLN);
	char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct share shares[THREADS_MAX];
	uint64_t begin;

	if (fd < 0 || memory == MAP_FAILED)
		return 1;
	if (!load)
		for (size_t i = 0; i < (mib << 20) / 8; i++)
			((uint64_t *)memory)[i] = (i + 1) * 0x9e3779b97f4a7c15u;
	threads = threads < THREADS_MAX ? threads : THREADS_MAX;
	begin = now();
	for (long i = 0; i < threads; i++) {
		shares[i] = (struct share){.memory = memory,
					   .start = (mib * i / threads) << 20,
					   .end = (mib * (i + 1) / threads) << 20,
					   .fd = fd,
					   .load = load};
		if (pthread_create(&shares[i].thread, NULL, copy, &shares[i]))
			return 1;
	}
	for (long i = 0; i < threads; i++)
		pthread_join(shares[i].thread, NULL);
	printf("%lu\n", now() - begin);
	return 0;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	uint64_t begin, end;
	int status;
	FILE *out;
	pid_t pid;

	if (argc == 5 && !strcmp(argv[1], "floor"))
		return lay_floor(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (argc < 3)
		return 1;
	begin = now();
	pid = fork();
	if (!pid) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) < 0)
		return 1;
	end = now();
	out = fopen(argv[1], "w");
	if (!out || fprintf(out, "%lu %ld\n", end - begin, usage.ru_maxrss) < 0 || fclose(out))
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
