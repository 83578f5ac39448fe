/* ptrace(2), raw: requests and register sets; policy lives in engine/kernel/ptrace.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "clock.h"
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

/* Keep those of `pids` that are in no stop of ours; their number. */
unsigned zd_moving(int *pids, unsigned count)
{
	unsigned long message;
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (syscall(SYS_ptrace, (long)PTRACE_GETEVENTMSG, (long)pids[i], 0, &message))
			pids[kept++] = pids[i];
	return kept;
}

static sigjmp_buf way_out;
static volatile sig_atomic_t is_inside;

static void get_out(int sig)
{
	(void)sig;
	if (is_inside)
		siglongjmp(way_out, 1);
}

/* Of this thread; a child of fork has none, and makes one again. */
static int make_timer(timer_t *timer)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMAX};
	struct sigaction action = {.sa_handler = get_out, .sa_flags = SA_NODEFER};
	sigset_t set;

	event._sigev_un._tid = gettid();
	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	return sigaction(SIGRTMAX, &action, NULL) || sigprocmask(SIG_UNBLOCK, &set, NULL) ||
	       timer_create(CLOCK_MONOTONIC, &event, timer);
}

/*
 * PTRACE_SEIZE, which waits for an execve(2) of the process, as long as that waits for the end of a thread:
 * for the tracer to reap one, perhaps. -ETIMEDOUT after `timeout` (in µs): it may have been done all the
 * same. The kernel goes on with it after a signal, so the way out is a jump.
 */
long zd_seize(int pid, unsigned long options, long long timeout)
{
	static timer_t timer;
	static int owner;
	struct itimerspec end = {.it_value = {timeout / 1000000, timeout % 1000000 * 1000 + 1}};
	const struct itimerspec never = {0};
	volatile long r = -ETIMEDOUT;

	if (owner != getpid()) {
		if (make_timer(&timer))
			return -errno;
		owner = getpid();
	}
	if (!sigsetjmp(way_out, 0)) {
		is_inside = 1;
		r = timer_settime(timer, 0, &end, NULL) ? -errno : zd_ptrace(PTRACE_SEIZE, pid, 0, options);
	}
	is_inside = 0;
	timer_settime(timer, 0, &never, NULL);
	return r;
}

/* PTRACE_SETOPTIONS of many, as nearly at once as it can be; those that are dead are passed over. */
int zd_ptrace_options(const int *pids, unsigned count, unsigned long options)
{
	for (unsigned i = 0; i < count; i++)
		if (syscall(SYS_ptrace, (long)PTRACE_SETOPTIONS, (long)pids[i], 0, options) && errno != ESRCH)
			return -errno;
	return 0;
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

/*
 * The general registers, in the layout of the tracer's own programs: on x86-64 the set NT_PRSTATUS of a
 * thread that runs 32-bit code is another one. Returns the size in bytes of what was read.
 */
long zd_general_get(int pid, void *buf, unsigned long size)
{
#ifdef __x86_64__
	if (size < sizeof(struct user_regs_struct))
		return -EINVAL;
	return zd_ptrace_buf(PTRACE_GETREGS, pid, 0, buf) ?: (long)sizeof(struct user_regs_struct);
#else
	return zd_regset_get(pid, 1 /* NT_PRSTATUS */, buf, size);
#endif
}

long zd_general_set(int pid, const void *buf, unsigned long size)
{
#ifdef __x86_64__
	if (size != sizeof(struct user_regs_struct))
		return -EINVAL;
	return zd_ptrace_buf(PTRACE_SETREGS, pid, 0, (void *)buf);
#else
	return zd_regset_set(pid, 1 /* NT_PRSTATUS */, buf, size);
#endif
}

/* See engine/kernel/singlestep.py. 1: out; 0: still inside; 2: another stop than a step's, in `status`. */
int zd_step_out(int pid, unsigned long budget, unsigned ip_at, unsigned long start, unsigned long end,
		long long timeout, int *status)
{
	int64_t last = now_us() + budget;
	char regs[512];

	while (now_us() < last) {
		unsigned long ip;
		long r = zd_ptrace(PTRACE_SINGLESTEP, pid, 0, 0);

		r = r ? r : zd_wait(pid, __WALL, timeout, status);
		if (r < 0)
			return r;
		if (*status != (SIGTRAP << 8 | 0x7f))
			return 2;
		r = zd_general_get(pid, regs, sizeof(regs));
		if (r < 0)
			return r;
		memcpy(&ip, regs + ip_at, sizeof(ip));
		if (ip < start || ip >= end)
			return 1;
	}
	return 0;
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
static int become_bystander(unsigned long uid, unsigned long gid)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

	/* where the user namespace denies setgroups(2) groups stay, which make no difference to this */
	if (syscall(SYS_setgroups, 0L, NULL) && errno != EPERM)
		return errno;
	if (syscall(SYS_setresgid, gid, gid, gid) || syscall(SYS_setresuid, uid, uid, uid) ||
	    syscall(SYS_capset, &header, none) || prctl(PR_SET_DUMPABLE, 1))
		return errno;
	return 0;
}

/* The kernel maps one vdso a process: first away with the caller's. */
static int become_with_vdso32(unsigned long at, unsigned long unused)
{
#ifdef __x86_64__
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];

	(void)unused;
	if (!maps)
		return errno;
	while (fgets(line, sizeof(line), maps))
		if ((strstr(line, "[vdso]") || strstr(line, "[vvar")) &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2)
			munmap((void *)start, end - start);
	return syscall(SYS_arch_prctl, 0x2002 /* ARCH_MAP_VDSO_32 */, at) < 0 ? errno : 0;
#else
	return ENOSYS;
#endif
}

/* Start a process that becomes what `become` says, and waits to be killed; returns its pid. */
static int start_waiting(int (*become)(unsigned long a, unsigned long b), unsigned long a, unsigned long b)
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
		error = become(a, b);
		if (!error && prctl(PR_SET_PDEATHSIG, SIGKILL))
			error = errno;
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

/* A process with these ids, no groups and no capabilities. */
int zd_bystander(unsigned uid, unsigned gid)
{
	return start_waiting(become_bystander, uid, gid);
}

/* A process that has, at this address, the vdso of 32-bit programs, and no other. */
int zd_with_vdso32(unsigned long at)
{
	return start_waiting(become_with_vdso32, at, 0);
}
