/* Leases: taking them, breaking them, and the signals that tell of that. */
#ifndef LEASES_H
#define LEASES_H

#include <signal.h>

#include "locks.h"

static volatile sig_atomic_t leases_told, leases_code, leases_fd;

static inline void leases_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	leases_told++;
	leases_code = info->si_code;
	leases_fd = info->si_fd;
}

/* Count the signals that tell of broken leases. */
static inline void leases_catch(int sig)
{
	struct sigaction action = {.sa_sigaction = leases_handler, .sa_flags = SA_SIGINFO | SA_RESTART};

	SYS(sigaction(sig, &action, NULL));
}

/* A new file, opened with `mode` and leased. */
static inline int leases_take(const char *name, int mode, int type)
{
	int fd;

	SYS(close(locks_file(name)));
	fd = SYS(open(name, mode));
	SYS(fcntl(fd, F_SETLEASE, type));
	return fd;
}

/* An open(2) that the lease does not allow now. */
static inline void leases_break(const char *name, int mode)
{
	CHECK(open(test_path(name), mode | O_NONBLOCK) == -1 && errno == EWOULDBLOCK,
	      "%s: no lease is in the way", name);
}

/* An open(2) that it does. */
static inline void leases_open(const char *name, int mode)
{
	SYS(close(SYS(open(test_path(name), mode | O_NONBLOCK))));
}

static inline void leases_expect(int fd, int type)
{
	int got = SYS(fcntl(fd, F_GETLEASE));

	CHECK(got == type, "fd %d: a lease of type %d instead of %d", fd, got, type);
}

#endif
