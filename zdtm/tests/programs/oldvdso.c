/*
 * A task of another kernel: it puts another vdso in place of its own, given as a file and the addresses of
 * the functions in it, which answer wrongly. It says "ready", sleeps until SIGTERM, and tells whether the
 * same pointers answer rightly by then: exit status 0, or 1 with a line on stderr. Further arguments name
 * mappings to remove before.
 *
 *	oldvdso FILE clock_gettime gettimeofday time getcpu own [MAPPING...]
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
	FILE_ARG = 1,
	GETTIME_ARG,
	GETTIMEOFDAY_ARG,
	TIME_ARG,
	GETCPU_ARG,
	OWN_ARG,
	REMOVED_ARG,
	WRONG = 4711
};

#define CHECK(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition); \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

static volatile sig_atomic_t done;

static void finish(int sig)
{
	done = sig;
}

static void find(const char *name, unsigned long *start, unsigned long *end)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	*start = *end = 0;
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, name))
			sscanf(line, "%lx-%lx", start, end);
	fclose(maps);
}

static void *replace(const char *file)
{
	unsigned long start, end;
	int fd = open(file, O_RDONLY);

	find("[vdso]", &start, &end);
	CHECK(start && fd >= 0);
	CHECK(!mprotect((void *)start, end - start, PROT_READ | PROT_WRITE));
	memset((void *)start, 0, end - start);
	CHECK(read(fd, (void *)start, end - start) > 0);
	CHECK(!mprotect((void *)start, end - start, PROT_READ | PROT_EXEC));
	close(fd);
	return (void *)start;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = finish};
	struct timespec now = {0}, right;
	struct timeval tv = {0};
	unsigned long start, end;
	unsigned int cpu = WRONG;
	sigset_t mask, wait;
	char *base;

	sigaction(SIGTERM, &act, NULL);
	sigprocmask(SIG_BLOCK, NULL, &wait);
	mask = wait;
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	CHECK(argc >= REMOVED_ARG);
	base = replace(argv[FILE_ARG]);

	int (*gettime)(int, struct timespec *) = (void *)(base + strtoul(argv[GETTIME_ARG], NULL, 16));
	int (*gettimeofday_)(struct timeval *, void *) =
		(void *)(base + strtoul(argv[GETTIMEOFDAY_ARG], NULL, 16));
	time_t (*time_)(time_t *) = (void *)(base + strtoul(argv[TIME_ARG], NULL, 16));
	int (*getcpu_)(unsigned int *, unsigned int *, void *) =
		(void *)(base + strtoul(argv[GETCPU_ARG], NULL, 16));
	int (*own)(void) = (void *)(base + strtoul(argv[OWN_ARG], NULL, 16));

	CHECK(gettime(CLOCK_MONOTONIC, &now) == WRONG && time_(NULL) == WRONG && own() == WRONG);
	CHECK(gettimeofday_(&tv, NULL) == WRONG && getcpu_(&cpu, NULL, NULL) == WRONG);
	for (int i = REMOVED_ARG; i < argc; i++) {
		find(argv[i], &start, &end);
		CHECK(start && !munmap((void *)start, end - start));
	}
	puts("ready");
	fflush(stdout);
	while (!done)
		sigsuspend(&wait);
	CHECK(gettime(CLOCK_MONOTONIC, &now) == 0);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &right);
	CHECK(now.tv_sec && now.tv_sec <= right.tv_sec && right.tv_sec - now.tv_sec <= 1);
	CHECK(gettimeofday_(&tv, NULL) == 0);
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &right);
	CHECK(tv.tv_sec <= right.tv_sec && right.tv_sec - tv.tv_sec <= 1);
	CHECK(right.tv_sec - time_(NULL) <= 1 && time_(NULL) <= right.tv_sec + 1);
	CHECK(getcpu_(&cpu, NULL, NULL) == 0 && cpu < (unsigned int)sysconf(_SC_NPROCESSORS_CONF));
	CHECK(own() == WRONG); /* of no use here, but it is as it was */
	return 0;
}
