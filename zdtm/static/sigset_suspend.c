/*
 * title: threads in sigsuspend and ppoll have a mask for a while, and afterwards their own again
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

#include <poll.h>

enum { SUSPEND, POLL, THREADS };

static const char *const names[THREADS] = {"sigsuspend", "ppoll"};
static const long calls[THREADS] = {SYS_rt_sigsuspend, SYS_ppoll};
static uint32_t ready, left;
static pid_t tids[THREADS];
static uint64_t in_handler[THREADS];

/* SIGUSR1 ends the call, SIGUSR2 is blocked in it and outside of it; SIGHUP and a realtime one only in one.
 */
static uint64_t own_mask(int i)
{
	return mask_bit(SIGTERM) | mask_bit(SIGUSR1) | mask_bit(SIGUSR2) | mask_bit(SIGHUP) |
	       mask_bit(SIGRTMIN + i);
}

static uint64_t other_mask(int i)
{
	return mask_bit(SIGTERM) | mask_bit(SIGUSR2) | mask_bit(SIGRTMAX - i);
}

static void on_usr1(int sig)
{
	(void)sig;
	in_handler[gettid() == tids[POLL]] = mask_get();
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;
	uint64_t other = other_mask(i);
	long result;

	mask_set(own_mask(i));
	tids[i] = gettid();
	test_post(&ready);
	if (i == SUSPEND)
		result = syscall(SYS_rt_sigsuspend, &other, sizeof(other));
	else
		result = syscall(SYS_ppoll, NULL, 0, NULL, &other, sizeof(other));
	CHECK(result == -1 && errno == EINTR, "%s: %m", names[i]);
	CHECK(in_handler[i], "%s returned without a signal", names[i]);
	CHECK(mask_get() == own_mask(i), "after %s %#llx is blocked, not %#llx", names[i],
	      (long long)mask_get(), (long long)own_mask(i));
	CHECK(in_handler[i] == (other_mask(i) | mask_bit(SIGUSR1)), "in the handler, in %s, it is %#llx",
	      names[i], (long long)in_handler[i]);
	CHECK(pending_get() == mask_bit(SIGUSR2), "%s: pending is %#llx", names[i], (long long)pending_get());
	test_post(&left);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_usr1};
	pthread_t threads[THREADS];
	int i;

	test_init(argc, argv);
	SYS(sigaction(SIGUSR1, &action, NULL));
	for (i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)(intptr_t)i);
	test_await(&ready, THREADS);
	for (i = 0; i < THREADS; i++) {
		thread_sleeps_in(tids[i], calls[i]);
		SYS(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR2));
	}
	test_daemon();
	test_waitsig();
	for (i = 0; i < THREADS; i++)
		thread_sleeps_in(tids[i], calls[i]);
	for (i = 0; i < THREADS; i++) {
		CHECK(left == (uint32_t)i, "somebody has returned without a signal");
		SYS(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1));
		test_await(&left, (uint32_t)i + 1);
	}
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
