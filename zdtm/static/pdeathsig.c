/*
 * title: a child gets the signal that it asked for when its parent ends: not when it is dumped or restored
 * flavours: host ns userns
 */
#include "signals.h"

#include <sys/prctl.h>
#include <sys/wait.h>

static struct {
	uint32_t ready, told, alone;
	pid_t parent, child;
} *common;

static int death_signal(void)
{
	int sig;

	SYS(prctl(PR_GET_PDEATHSIG, &sig));
	return sig;
}

static void child(void)
{
	const uint64_t set = mask_bit(SIGUSR1);
	siginfo_t info;

	mask_set(set);
	SYS(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	common->child = getpid();
	test_post(&common->ready);
	test_await(&common->told, 1);
	CHECK(death_signal() == SIGUSR1, "the child's signal is %d", death_signal());
	CHECK(!pending_get(), "%#llx is pending while the parent lives", (long long)pending_get());
	CHECK(getppid() == common->parent, "the parent is %d", getppid());
	test_post(&common->ready);
	SYS(syscall(SYS_rt_sigtimedwait, &set, &info, NULL, sizeof(set)));
	CHECK(info.si_code == SI_USER && info.si_pid == common->parent, "it came from %d, code %d",
	      info.si_pid, info.si_code);
	_exit(0);
}

static void parent(void)
{
	pid_t pid;

	common->parent = getpid();
	pid = SYS(fork());
	if (!pid)
		child();
	CHECK(!death_signal(), "the parent asked for nothing, and has %d", death_signal());
	test_await(&common->told, 1);
	CHECK(!death_signal(), "the parent has the child's signal %d", death_signal());
	test_await(&common->told, 2);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	common = test_shared(sizeof(*common));
	/* The orphan is to be this one's. */
	SYS(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	pid = SYS(fork());
	if (!pid)
		parent();
	test_await(&common->ready, 1);
	test_daemon();
	test_waitsig();
	test_post(&common->told);
	test_await(&common->ready, 2);
	test_post(&common->told);
	test_reap(pid);
	test_reap(common->child);
	pass();
}
