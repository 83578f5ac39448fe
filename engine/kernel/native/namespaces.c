/* Entering and making namespaces, names inside of roots, and processes with a chosen number: not in Python's
 * os. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

static int answer(long r)
{
	return r < 0 ? -errno : r;
}

int zd_setns(int fd, int kind)
{
	return answer(setns(fd, kind));
}

int zd_unshare(int flags)
{
	return answer(unshare(flags));
}

int zd_set_names(const char *host, unsigned host_size, const char *domain, unsigned domain_size)
{
	int r = answer(sethostname(host, host_size));

	return r < 0 ? r : answer(setdomainname(domain, domain_size));
}

int zd_openat2(int dir, const char *name, unsigned long long flags, unsigned mode, unsigned long long resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};

	return answer(syscall(SYS_openat2, dir, name, &how, sizeof(how)));
}

/*
 * fork(2) with these very pids, the innermost namespace's first (none: any), and flags of clone(2), for a
 * process of a single thread.
 */
int zd_fork(const int *pids, unsigned count, unsigned long long flags)
{
	struct clone_args args = {
		.flags = flags,
		.exit_signal = SIGCHLD,
		.set_tid = count ? (uintptr_t)pids : 0,
		.set_tid_size = count,
	};

	return answer(syscall(SYS_clone3, &args, sizeof(args)));
}
