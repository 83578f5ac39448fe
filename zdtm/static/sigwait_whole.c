/*
 * title: a thread that waits for signals does not notice: the call is not interrupted
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

static uint32_t ready, got;
static pid_t tid;

static uint64_t awaited(void)
{
	return mask_bit(SIGUSR1) | mask_bit(SIGRTMIN + 4);
}

static uint64_t blocked(void)
{
	return awaited() | mask_bit(SIGTERM) | mask_bit(SIGUSR2);
}

static void *thread(void *argument)
{
	const siginfo_t want = siginfo_make(SIGRTMIN + 4, SI_QUEUE, 99);
	uint64_t set = awaited();
	siginfo_t info;
	long sig;

	(void)argument;
	mask_set(blocked());
	tid = gettid();
	test_post(&ready);
	memset(&info, 0, sizeof(info));
	sig = syscall(SYS_rt_sigtimedwait, &set, &info, NULL, sizeof(set));
	SYS(sig);
	CHECK(!memcmp(&info, &want, sizeof(info)), "got signal %d, code %d, payload %p", info.si_signo,
	      info.si_code, info.si_ptr);
	CHECK(mask_get() == blocked(), "afterwards %#llx is blocked", (long long)mask_get());
	CHECK(pending_get() == mask_bit(SIGUSR2), "pending is %#llx", (long long)pending_get());
	test_post(&got);
	return NULL;
}

int main(int argc, char **argv)
{
	siginfo_t info;
	pthread_t other;

	test_init(argc, argv);
	/* Blocked here too: it is the waiting thread's in any case. */
	mask_set(awaited());
	other = thread_start(thread, NULL);
	test_await(&ready, 1);
	thread_sleeps_in(tid, SYS_rt_sigtimedwait);
	/* Not one of those that are waited for. */
	info = siginfo_make(SIGUSR2, SI_QUEUE, 1);
	queue_to_thread(tid, &info);
	test_daemon();
	test_waitsig();
	thread_sleeps_in(tid, SYS_rt_sigtimedwait);
	CHECK(!got, "a signal came that nobody has sent");
	info = siginfo_make(SIGRTMIN + 4, SI_QUEUE, 99);
	queue_to_process(getpid(), &info);
	thread_join(other);
	CHECK(got == 1 && !pending_get(), "pending is %#llx", (long long)pending_get());
	pass();
}
