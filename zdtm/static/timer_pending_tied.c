/*
 * title: the pending signal of a timer is the timer's: deleting or setting it again does what it did before
 * flavours: host ns userns
 */
#include "timers.h"

/* A timer whose signal is pending. */
static int expired(int signo, long long interval)
{
	int id = timer_make(CLOCK_MONOTONIC, SIGEV_SIGNAL, signo, NULL);

	timer_block(signo);
	timer_start(id, 1, interval);
	timer_await_pending(signo);
	return id;
}

static bool deletion_leaves(int id, int signo)
{
	siginfo_t info;

	SYS(syscall(SYS_timer_delete, id));
	return timer_dequeue(signo, 0, &info);
}

static bool setting_leaves(int id, int signo)
{
	siginfo_t info;

	timer_start(id, 3600 * S, 0);
	return timer_dequeue(signo, 0, &info);
}

int main(int argc, char **argv)
{
	bool leaves_deleted, leaves_set; /* what this kernel does, which changed with Linux 6.13 */
	int deleted, set, periodic;

	test_init(argc, argv);
	leaves_deleted = deletion_leaves(expired(SIGRTMIN, 0), SIGRTMIN);
	leaves_set = setting_leaves(expired(SIGRTMIN, 0), SIGRTMIN);
	deleted = expired(SIGRTMIN, 0);
	set = expired(SIGRTMIN + 1, 0);
	periodic = expired(SIGRTMIN + 2, 3600 * S);
	test_daemon();
	test_waitsig();
	CHECK(deletion_leaves(deleted, SIGRTMIN) == leaves_deleted, "a deleted timer's signal is %s",
	      leaves_deleted ? "gone" : "there");
	CHECK(setting_leaves(set, SIGRTMIN + 1) == leaves_set, "a set timer's signal is %s",
	      leaves_set ? "gone" : "there");
	CHECK(deletion_leaves(periodic, SIGRTMIN + 2) == leaves_deleted,
	      "a deleted periodic timer's signal is %s", leaves_deleted ? "gone" : "there");
	pass();
}
