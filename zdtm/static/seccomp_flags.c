/*
 * title: several filters keep their order, their code and their flag; seen by a tracer
 * flavours: host ns
 * flags: suid
 * needs: seccomp_filters
 */
#include "child.h"
#include "filter.h"

#include <sys/ptrace.h>

static const struct {
	int nr, error;
	unsigned int flags;
} filters[] = {
	{SYS_getppid, ENOTTY, 0},
	{SYS_getuid, ENOSPC, SECCOMP_FILTER_FLAG_LOG},
	{SYS_getpgrp, EXDEV, 0},
	{SYS_getuid, EDOM, 0}, /* of two that deny, the last one says how */
	{SYS_getgid, ERANGE, SECCOMP_FILTER_FLAG_LOG},
};
enum { COUNT = sizeof(filters) / sizeof(*filters) };

static _Noreturn void child(void)
{
	for (int i = 0; i < COUNT; i++)
		filter_add(filters[i].nr, FILTER_ERRNO(filters[i].error), filters[i].flags);
	child_wait();
	filter_expect_mode(SECCOMP_MODE_FILTER, COUNT);
	for (int i = 0; i < COUNT; i++)
		filter_expect(filters[i].nr, filters[i].nr == SYS_getuid ? EDOM : filters[i].error);
	filter_expect(SYS_geteuid, 0);
	_exit(0);
}

/* Filters are numbered from the oldest. */
static void look(pid_t pid)
{
	int status;

	SYS(ptrace(PTRACE_SEIZE, pid, 0, 0));
	SYS(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	CHECK(SYS(waitpid(pid, &status, 0)) == pid && WIFSTOPPED(status), "the child does not stop: %#x",
	      status);
	for (unsigned long i = 0; i < COUNT; i++) {
		struct sock_filter expected[] =
			FILTER((uint32_t)filters[i].nr, FILTER_ERRNO(filters[i].error));
		struct sock_filter found[BPF_MAXINSNS];
		struct {
			uint64_t number, flags;
		} data = {i, ~0UL};

		CHECK(SYS(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, i, found)) ==
			      sizeof(expected) / sizeof(*expected),
		      "filter %lu has another length", i);
		CHECK(!memcmp(found, expected, sizeof(expected)), "filter %lu is another one", i);
		SYS(ptrace(PTRACE_SECCOMP_GET_METADATA, pid, sizeof(data), &data));
		CHECK(data.flags == filters[i].flags, "filter %lu has flags %#lx", i, data.flags);
	}
	CHECK(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, COUNT, NULL) == -1 && errno == ENOENT,
	      "there are more than %d filters", COUNT);
	SYS(ptrace(PTRACE_DETACH, pid, 0, 0));
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid)
		child();
	child_await();
	look(pid);
	test_daemon();
	test_waitsig();
	look(pid);
	child_go();
	test_reap(pid);
	pass();
}
