/*
 * title: who traces another process's threads goes on getting their stops
 * flavours: host ns userns
 * flags: noauto
 * cflags: -pthread
 */
#include "zdtm.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3 };

static struct shared {
	pid_t tids[THREADS];
	uint32_t ready, end, handled;
} *shared;

static void handler(int sig)
{
	(void)sig;
	__atomic_add_fetch(&shared->handled, 1, __ATOMIC_SEQ_CST);
}

static void *thread(void *number)
{
	shared->tids[(long)number] = (pid_t)syscall(SYS_gettid);
	test_post(&shared->ready);
	test_await(&shared->end, 1);
	return NULL;
}

static _Noreturn void traced(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	pthread_t threads[THREADS];

	SYS(sigaction(SIGUSR1, &action, NULL));
	for (long i = 1; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread, (void *)i), "pthread_create");
	thread((void *)0);
	for (int i = 1; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL), "pthread_join");
	_exit(0);
}

static int await_stop(pid_t tid)
{
	int status;
	pid_t got;

	do
		got = waitpid(tid, &status, __WALL);
	while (got == -1 && errno == EINTR);
	CHECK(got == tid && WIFSTOPPED(status), "thread %d: %d with wait status %#x", tid, got, status);
	return status >> 8;
}

/* One stop of the tracer's own, and one before a signal whose siginfo has to be all there. */
static void stop_twice(pid_t pid, pid_t tid)
{
	siginfo_t info;
	int stop;

	SYS(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL));
	stop = await_stop(tid);
	CHECK(stop == (SIGTRAP | PTRACE_EVENT_STOP << 8), "thread %d has stop %#x", tid, stop);
	SYS(ptrace(PTRACE_GETSIGINFO, tid, NULL, &info));
	CHECK(info.si_signo == SIGTRAP && info.si_code == stop, "signal %d with code %#x", info.si_signo,
	      info.si_code);
	SYS(syscall(SYS_tgkill, pid, tid, SIGUSR1));
	SYS(ptrace(PTRACE_CONT, tid, NULL, NULL));
	stop = await_stop(tid);
	CHECK(stop == SIGUSR1, "thread %d has stop %#x", tid, stop);
	SYS(ptrace(PTRACE_GETSIGINFO, tid, NULL, &info));
	CHECK(info.si_signo == SIGUSR1 && info.si_code == SI_TKILL && info.si_pid == getpid() &&
		      info.si_uid == getuid(),
	      "signal %d with code %d from pid %d of uid %d", info.si_signo, info.si_code, info.si_pid,
	      info.si_uid);
	SYS(ptrace(PTRACE_CONT, tid, NULL, (long)SIGUSR1));
}

int main(int argc, char **argv)
{
	uint32_t sent = 0;
	int i, status;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	pid = SYS(fork());
	if (!pid)
		traced();
	test_await(&shared->ready, THREADS);
	for (i = 0; i < THREADS; i++)
		SYS(ptrace(PTRACE_SEIZE, shared->tids[i], NULL, NULL));
	test_daemon();
	while (test_go() || !sent)
		for (i = 0; i < THREADS; i++, sent++)
			stop_twice(pid, shared->tids[i]);
	/* A thread that stops again has handled what it got before. */
	for (i = 0; i < THREADS; i++) {
		SYS(ptrace(PTRACE_INTERRUPT, shared->tids[i], NULL, NULL));
		await_stop(shared->tids[i]);
	}
	CHECK(shared->handled == sent, "%u signals were handled, %u were sent", shared->handled, sent);
	test_post(&shared->end);
	for (i = 0; i < THREADS; i++)
		SYS(ptrace(PTRACE_DETACH, shared->tids[i], NULL, NULL));
	CHECK(SYS(waitpid(pid, &status, 0)) == pid && !status, "wait status %#x", status);
	pass();
}
