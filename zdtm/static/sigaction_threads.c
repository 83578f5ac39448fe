/*
 * title: actions are one table for all threads, masks are not: a signal comes to the thread that it is for
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

#include <linux/kcmp.h>

enum { THREADS = 3 };

static uint32_t step, done;
static pid_t tids[THREADS], came_to[THREADS];
static uint64_t masked[THREADS];
static int last_code;

static void on_usr1(int sig, siginfo_t *info, void *context)
{
	(void)context;
	for (int i = 0; i < THREADS; i++)
		if (tids[i] == gettid()) {
			came_to[i] += sig;
			masked[i] = mask_get();
		}
	last_code = info->si_code;
	test_post(&done);
}

static void on_usr2(int sig)
{
	(void)sig;
}

/* SIGWINCH is for the process: only the last thread has it open. */
static uint64_t mask_for(int i)
{
	return mask_bit(SIGTERM) | (i < THREADS - 1 ? mask_bit(SIGWINCH) : 0) | mask_bit(SIGRTMIN + i);
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;
	struct sigaction action;

	tids[i] = gettid();
	mask_set(mask_for(i));
	test_post(&done);
	test_await(&step, 1);
	CHECK(mask_get() == mask_for(i), "thread %d blocks %#llx", i, (long long)mask_get());
	if (i == 0) {
		SYS(sigaction(SIGUSR2, NULL, &action));
		CHECK(action.sa_handler == on_usr2, "the leader's new action is not the thread's");
		action.sa_handler = SIG_IGN;
		SYS(sigaction(SIGUSR2, &action, NULL));
		test_post(&done);
	}
	test_await(&step, 2);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction usr1 = {.sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO}, now,
			 usr2 = {.sa_handler = on_usr2};
	const uint64_t masked_by_it = mask_bit(SIGHUP) | mask_bit(SIGRTMAX);
	pthread_t threads[THREADS];
	uint32_t posted = THREADS;
	int i, sig;

	test_init(argc, argv);
	sigaddset(&usr1.sa_mask, SIGHUP);
	sigaddset(&usr1.sa_mask, SIGRTMAX);
	SYS(sigaction(SIGUSR1, &usr1, NULL));
	SYS(sigaction(SIGWINCH, &usr1, NULL));
	for (i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)(intptr_t)i);
	mask_set(mask_bit(SIGWINCH));
	test_await(&done, posted);
	test_daemon();
	test_waitsig();
	for (i = 0; i < THREADS; i++)
		CHECK(!SYS(syscall(SYS_kcmp, getpid(), tids[i], KCMP_SIGHAND, 0, 0)),
		      "thread %d has its own actions", i);
	for (i = 0; i < THREADS; i++) {
		SYS(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1));
		test_await(&done, ++posted);
		CHECK(came_to[i] == SIGUSR1 && last_code == SI_TKILL, "thread %d got %d, code %d", i,
		      came_to[i], last_code);
		CHECK(masked[i] == (mask_for(i) | masked_by_it | mask_bit(SIGUSR1)),
		      "in the handler %#llx is blocked", (long long)masked[i]);
	}
	SYS(kill(getpid(), SIGWINCH));
	test_await(&done, ++posted);
	for (i = 0; i < THREADS; i++) {
		sig = i < THREADS - 1 ? SIGUSR1 : SIGUSR1 + SIGWINCH;
		CHECK(came_to[i] == sig, "the signal for the process came to another thread than the last");
	}
	SYS(sigaction(SIGUSR2, &usr2, NULL));
	test_post(&step);
	test_await(&done, ++posted);
	SYS(sigaction(SIGUSR2, NULL, &now));
	CHECK(now.sa_handler == SIG_IGN, "the thread's new action is not the leader's");
	test_post(&step);
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
