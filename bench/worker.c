/*
 * The benchmark's processes. worker FILE memory MIB | tree TASKS | threads COUNT
 *
 * The first task spins on the clock and keeps the largest gap that it has seen in FILE (struct seen), until
 * it is killed; writing 0 there starts anew. Before that it touches MIB mebibytes, or has TASKS tasks made in
 * all (itself, children and grandchildren), or COUNT threads more. Those sleep in futex(2) until `asked`
 * grows; each then looks at what it has in private memory and counts itself in `answers`, or in `wrong`.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OWN (64 << 10) /* bytes that each task of a tree has of its own */

struct seen {		       /* bench.py knows the offsets */
	volatile uint64_t gap; /* ns */
	volatile uint64_t rounds;
	_Atomic uint32_t asked;
	_Atomic uint32_t answers;
	_Atomic uint32_t wrong;
	volatile uint32_t others; /* how many answer; the last word to be set */
};

static struct seen *seen;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t value(uint64_t who, size_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15u ^ who;
}

static uint64_t *fill(size_t size, uint64_t who)
{
	uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	for (size_t i = 0; i < size / 8; i++)
		memory[i] = value(who, i);
	return memory;
}

static void answer(const uint64_t *memory, size_t size, uint64_t who)
{
	uint32_t last = 0;

	atomic_fetch_add(&seen->answers, 1);
	for (;;) {
		int good = 1;

		while (atomic_load(&seen->asked) == last)
			syscall(SYS_futex, &seen->asked, FUTEX_WAIT, last, NULL, NULL, 0);
		last = atomic_load(&seen->asked);
		for (size_t i = 0; i < size / 8; i++)
			good &= memory[i] == value(who, i);
		atomic_fetch_add(good ? &seen->answers : &seen->wrong, 1);
	}
}

static void *thread(void *number)
{
	uint64_t own[8];

	for (size_t i = 0; i < 8; i++)
		own[i] = value((uintptr_t)number, i);
	answer(own, sizeof(own), (uintptr_t)number);
	return NULL;
}

/* Two children, of which the second has one of its own, and so on. */
static void make_tree(int tasks)
{
	for (int i = 1, kids = 0; i < tasks; i++, kids++) {
		int grandchild = kids % 2 && i + 1 < tasks;
		pid_t pid = fork();

		if (pid < 0)
			_exit(1);
		if (!pid) {
			uint64_t who = i;

			if (grandchild && (pid = fork()) <= 0)
				who = pid ? _exit(1), 0 : i + 1;
			answer(fill(OWN, who), OWN, who);
		}
		i += grandchild;
	}
}

static void make_threads(int count)
{
	pthread_t id;

	for (intptr_t i = 0; i < count; i++)
		if (pthread_create(&id, NULL, thread, (void *)i))
			_exit(1);
}

static void spin(void)
{
	uint64_t last = now();

	for (;;) {
		uint64_t t = now();

		if (t - last > seen->gap)
			seen->gap = t - last;
		last = t;
		seen->rounds++;
	}
}

int main(int argc, char **argv)
{
	int fd, count, others = 0;

	if (argc != 4 ||
	    close_range(3, ~0u, 0)) /* what whoever started us has open is none of the workload */
		return 1;
	count = atoi(argv[3]);
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seen == MAP_FAILED)
		return 1;
	close(fd);
	if (!strcmp(argv[2], "tree"))
		make_tree(count), others = count - 1;
	else if (!strcmp(argv[2], "threads"))
		make_threads(count), others = count;
	else if (count)
		fill((size_t)count << 20, 0);
	while (atomic_load(&seen->answers) < (uint32_t)others)
		usleep(1000);
	seen->others = others;
	spin();
}
