/*
 * Works without a pause, checks itself all the time and counts in a file: a victim that notices every
 * disturbance. worker FILE: one 8-byte counter in FILE, grown by one a round; exit status 1 and a line on
 * stderr when a check fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define WORDS (4 << 20) / 8

static uint64_t memory[WORDS];

static void die(const char *what)
{
	fprintf(stderr, "worker: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* A sum that lives in registers, vector ones included, for a good while. */
static double spin(double x)
{
	double a[8];

	for (int i = 0; i < 8; i++)
		a[i] = x + i;
	for (int n = 0; n < 2000; n++)
		for (int i = 0; i < 8; i++)
			a[i] = a[i] * 1.0000001 + 0.5;
	for (int i = 1; i < 8; i++)
		a[0] += a[i];
	return a[0];
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	sigset_t mask, now;
	struct timespec nap = {0, 200000};
	double expected = spin(1.0);

	if (argc != 2 || fd < 0)
		die(argv[1]);
#ifdef MDWE
	/* PR_SET_MDWE: from now on no memory of it may be both writable and executable */
	if (prctl(65, 1UL, 0, 0, 0))
		die("prctl");
#endif
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	for (uint64_t i = 0; i < WORDS; i++)
		memory[i] = i * 0x9e3779b97f4a7c15u;
	for (uint64_t round = 1;; round++) {
		for (uint64_t i = round % 512; i < WORDS; i += 512)
			if (memory[i] != i * 0x9e3779b97f4a7c15u)
				die("memory has changed");
		if (spin(1.0) != expected)
			die("a calculation has changed");
		sigprocmask(SIG_BLOCK, NULL, &now);
		if (memcmp(&now, &mask, sizeof(unsigned long)))
			die("the signal mask has changed");
		if (round % 2 && nanosleep(&nap, NULL))
			die("nanosleep");
		if (pwrite(fd, &round, sizeof(round), 0) != sizeof(round))
			die("pwrite");
	}
}
