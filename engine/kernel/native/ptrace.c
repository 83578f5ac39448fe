/* ptrace(2), raw: requests and register sets; policy lives in engine/kernel/ptrace.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "native.h"

static long answer(long r)
{
	return r < 0 ? -errno : r;
}

/* The library's wrapper guesses the meaning of results; the system call does not. */
long zd_ptrace(int request, int pid, unsigned long addr, unsigned long data)
{
	return answer(syscall(SYS_ptrace, (long)request, (long)pid, addr, data));
}

long zd_ptrace_buf(int request, int pid, unsigned long addr, void *data)
{
	return answer(syscall(SYS_ptrace, (long)request, (long)pid, addr, data));
}

/* Returns the size in bytes of what was read. */
long zd_regset_get(int pid, unsigned type, void *buf, unsigned long size)
{
	struct iovec v = {buf, size};
	long r = syscall(SYS_ptrace, (long)PTRACE_GETREGSET, (long)pid, (unsigned long)type, &v);

	return r < 0 ? -errno : (long)v.iov_len;
}

long zd_regset_set(int pid, unsigned type, const void *buf, unsigned long size)
{
	struct iovec v = {(void *)buf, size};

	return answer(syscall(SYS_ptrace, (long)PTRACE_SETREGSET, (long)pid, (unsigned long)type, &v));
}

/* Where an extended state component lies in the NT_X86_XSTATE set: CPUID leaf 0xd. -ENODEV: this CPU has
 * none. */
int zd_xstate_offset(unsigned component, unsigned *offset, unsigned *size)
{
#ifdef __x86_64__
	unsigned a, b, c, d;

	if (!__get_cpuid_count(0xd, component, &a, &b, &c, &d) || !a)
		return -ENODEV;
	*size = a;
	*offset = b;
	return 0;
#else
	return -ENODEV;
#endif
}

/* CPUID: eax, ebx, ecx, edx. -ENODEV: this CPU has no such leaf, or is no x86 at all. */
int zd_cpuid(unsigned leaf, unsigned subleaf, unsigned *registers)
{
#ifdef __x86_64__
	unsigned *r = registers;

	return __get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]) ? 0 : -ENODEV;
#else
	return -ENODEV;
#endif
}

/* The Landlock version of the kernel. -ENOSYS, -EOPNOTSUPP: not built in, not switched on. */
int zd_landlock_abi(void)
{
	return (int)answer(syscall(SYS_landlock_create_ruleset, NULL, 0UL, LANDLOCK_CREATE_RULESET_VERSION));
}

/* Whoever has these ids may look at the caller afterwards, and nobody needs any capability for it.
 * Credentials first: a change of them takes dumpable and the parent's death signal away. */
static int become_bystander(unsigned uid, unsigned gid)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

	if (syscall(SYS_setgroups, 0L, NULL) || syscall(SYS_setresgid, gid, gid, gid) ||
	    syscall(SYS_setresuid, uid, uid, uid) || syscall(SYS_capset, &header, none) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 1))
		return errno;
	return 0;
}

/* Start a process with these ids, no groups and no capabilities, that waits to be killed; returns its pid. */
int zd_bystander(unsigned uid, unsigned gid)
{
	int ends[2], parent = getpid(), error = 0;
	long pid;
	ssize_t n;

	if (pipe(ends))
		return -errno;
	pid = syscall(SYS_clone, (long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
	if (pid < 0)
		error = errno;
	if (!pid) {
		error = become_bystander(uid, gid);
		n = write(ends[1], &error, sizeof(error));
		if (error || n < 0 || getppid() != parent || close_range(0, ~0U, 0))
			syscall(SYS_exit_group, 1);
		for (;;)
			pause();
	}
	close(ends[1]);
	if (pid > 0) {
		do {
			n = read(ends[0], &error, sizeof(error));
		} while (n < 0 && errno == EINTR);
		if (n != sizeof(error))
			error = ECHILD; /* killed by somebody */
		if (error)
			waitpid((pid_t)pid, NULL, __WALL);
	}
	close(ends[0]);
	return error ? -error : (int)pid;
}
