/* Signals as the kernel has them: masks of 64 bits, and siginfo_t that no library has touched. */
#ifndef ZDTM_SIGNALS_H
#define ZDTM_SIGNALS_H

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "zdtm.h"

static inline uint64_t mask_bit(int sig)
{
	return 1ULL << (sig - 1);
}

static inline uint64_t mask_get(void)
{
	uint64_t mask;

	SYS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask)));
	return mask;
}

static inline void mask_set(uint64_t mask)
{
	SYS(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask)));
}

/* What is blocked and pending, for the thread or the process. */
static inline uint64_t pending_get(void)
{
	uint64_t set;

	SYS(syscall(SYS_rt_sigpending, &set, sizeof(set)));
	return set;
}

/* A siginfo_t of this process whose payload tells the number; the rest of it is zero. */
static inline siginfo_t siginfo_make(int sig, int code, uint32_t number)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = code;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_ptr = (void *)(uintptr_t)(0x1000000000001ULL * number);
	return info;
}

static inline void queue_to_process(pid_t pid, const siginfo_t *info)
{
	SYS(syscall(SYS_rt_sigqueueinfo, pid, info->si_signo, info));
}

/* To a thread of this process. */
static inline void queue_to_thread(pid_t tid, const siginfo_t *info)
{
	SYS(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, info->si_signo, info));
}

/* The next pending signal of a set, or 0. Not the library's: that one changes si_code. */
static inline int signal_take(uint64_t set, siginfo_t *info)
{
	const struct timespec now = {0, 0};
	long sig = syscall(SYS_rt_sigtimedwait, &set, info, &now, sizeof(set));

	if (sig < 0 && errno != EAGAIN)
		fail("rt_sigtimedwait: %s", strerror(errno));
	return sig < 0 ? 0 : (int)sig;
}

/* The next pending signal of this number is this one, to the last byte. */
static inline void signal_expect(const siginfo_t *want)
{
	siginfo_t got;
	const unsigned char *a = (const void *)want, *b = (const void *)&got;
	size_t i;

	memset(&got, 0, sizeof(got));
	CHECK(signal_take(mask_bit(want->si_signo), &got), "signal %d (code %d, payload %p) is lost",
	      want->si_signo, want->si_code, want->si_ptr);
	for (i = 0; i < sizeof(got); i++)
		CHECK(a[i] == b[i],
		      "signal %d, byte %zu of siginfo: %#x, not %#x (code %d not %d, payload %p not %p)",
		      want->si_signo, i, b[i], a[i], got.si_code, want->si_code, got.si_ptr, want->si_ptr);
}

#endif
