/* ptrace(2), raw: requests and register sets; policy lives in engine/kernel/ptrace.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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
