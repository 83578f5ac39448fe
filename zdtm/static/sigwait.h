/* A thread that waits for signals in rt_sigtimedwait(2), through a checkpoint. */
#ifndef SIGWAIT_H
#define SIGWAIT_H

#include "signals.h"
#include "threads.h"

static uint32_t sigwait_ready, sigwait_got;
static pid_t sigwait_tid;

static uint64_t sigwait_awaited(void)
{
	return mask_bit(SIGUSR1) | mask_bit(SIGRTMIN + 4);
}

static uint64_t sigwait_blocked(void)
{
	return sigwait_awaited() | mask_bit(SIGTERM) | mask_bit(SIGUSR2);
}

/* The call may be interrupted (signal(7)), and the library's sigwait() goes on then; whoever waits may not.
 */
static void *sigwait_thread(void *goes_on)
{
	const siginfo_t want = siginfo_make(SIGRTMIN + 4, SI_QUEUE, 99);
	uint64_t set = sigwait_awaited();
	siginfo_t info;
	long sig;

	mask_set(sigwait_blocked());
	sigwait_tid = gettid();
	test_post(&sigwait_ready);
	do {
		memset(&info, 0, sizeof(info));
		sig = syscall(SYS_rt_sigtimedwait, &set, &info, NULL, sizeof(set));
	} while (goes_on && sig == -1 && errno == EINTR);
	SYS(sig);
	CHECK(!memcmp(&info, &want, sizeof(info)), "got signal %d, code %d, payload %p", info.si_signo,
	      info.si_code, info.si_ptr);
	CHECK(mask_get() == sigwait_blocked(), "afterwards %#llx is blocked", (long long)mask_get());
	CHECK(pending_get() == mask_bit(SIGUSR2), "pending is %#llx", (long long)pending_get());
	test_post(&sigwait_got);
	return NULL;
}

/* The whole of a case. */
static _Noreturn void sigwait_run(bool goes_on)
{
	siginfo_t info;
	pthread_t other;

	/* Blocked here too: it is the waiting thread's in any case. */
	mask_set(sigwait_awaited());
	other = thread_start(sigwait_thread, goes_on ? &sigwait_ready : NULL);
	test_await(&sigwait_ready, 1);
	thread_sleeps_in(sigwait_tid, SYS_rt_sigtimedwait);
	/* Not one of those that are waited for. */
	info = siginfo_make(SIGUSR2, SI_QUEUE, 1);
	queue_to_thread(sigwait_tid, &info);
	test_daemon();
	test_waitsig();
	thread_sleeps_in(sigwait_tid, SYS_rt_sigtimedwait);
	CHECK(!sigwait_got, "a signal came that nobody has sent");
	info = siginfo_make(SIGRTMIN + 4, SI_QUEUE, 99);
	queue_to_process(getpid(), &info);
	thread_join(other);
	CHECK(sigwait_got == 1 && !pending_get(), "pending is %#llx", (long long)pending_get());
	pass();
}

#endif
