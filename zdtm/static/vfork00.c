/*
 * title: a process that waits inside vfork() for its child cannot be dumped, and goes on
 * flavours: host ns userns
 * flags: noauto crfail
 */
#include "zdtm.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
	uint32_t borrowed, give_back;
} *shared;
static volatile int left_by_child;
static char stack[65536] __attribute__((aligned(16)));

static int borrows(void *argument)
{
	(void)argument;
	test_post(&shared->borrowed);
	test_await(&shared->give_back, 1);
	left_by_child = 42;
	return 7;
}

static _Noreturn void lends(void)
{
	pid_t pid = SYS(clone(borrows, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
	int status;

	CHECK(shared->give_back, "the parent did not wait for its child");
	CHECK(left_by_child == 42, "the child's store is lost: %d", left_by_child);
	CHECK(SYS(waitpid(pid, &status, 0)) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7,
	      "the child ended with wait status %#x", status);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid)
		lends();
	test_await(&shared->borrowed, 1);
	test_daemon();
	test_waitsig();
	CHECK(SYS(waitpid(pid, NULL, WNOHANG)) == 0, "the borrower did not outlive the attempt");
	test_post(&shared->give_back);
	test_reap(pid);
	pass();
}
