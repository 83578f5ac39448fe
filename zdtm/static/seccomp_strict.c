/*
 * title: strict mode stays: one child of two ends as it may, the other breaks the rules and is killed
 * flavours: host ns userns
 * flags: suid
 * needs: seccomp_suspend
 */
#include "filter.h"

#include <sched.h>
#include <signal.h>

struct shared {
	uint32_t ready;
	volatile uint32_t go;
};

/* In strict mode there is nothing to sleep in. */
static _Noreturn void child(struct shared *shared, long last_call)
{
	test_post(&shared->ready);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0))
		fail("prctl(PR_SET_SECCOMP): %s", strerror(errno));
	while (!shared->go)
		;
	syscall(last_call, 0);
	for (;;)
		syscall(SYS_exit, 1);
}

int main(int argc, char **argv)
{
	const long last_calls[2] = {SYS_exit, SYS_getppid};
	struct shared *shared;
	pid_t pids[2];

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	for (int i = 0; i < 2; i++) {
		pids[i] = SYS(fork());
		if (!pids[i])
			child(shared, last_calls[i]);
	}
	test_await(&shared->ready, 2);
	for (int i = 0; i < 2; i++)
		while (filter_status(pids[i], pids[i], "Seccomp") != SECCOMP_MODE_STRICT)
			sched_yield();
	test_daemon();
	test_waitsig();
	for (int i = 0; i < 2; i++)
		CHECK(filter_status(pids[i], pids[i], "Seccomp") == SECCOMP_MODE_STRICT,
		      "child %d is not strict", i);
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	shared->go = 1;
	test_reap(pids[0]);
	filter_reap_killed(pids[1], SIGKILL);
	pass();
}
