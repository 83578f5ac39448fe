/*
 * title: signals pending for the process and for each thread are all there, in order, to the last byte
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "signals.h"
#include "threads.h"

#include <sys/wait.h>

enum { THREADS = 2, EACH = 5, STATUS = 42 };

static uint32_t ready, told;
static pid_t tids[THREADS + 1];

static uint64_t blocked(int i)
{
	return mask_bit(SIGCHLD) | mask_bit(SIGUSR1) | mask_bit(SIGUSR2) | mask_bit(SIGRTMIN + 1) |
	       mask_bit(SIGRTMIN + 2) | mask_bit(SIGRTMAX) | mask_bit(SIGRTMIN + 5 + i) |
	       (i < THREADS ? mask_bit(SIGTERM) : 0);
}

/* The signal of that place in the queue of a thread, or of the process (-1). */
static siginfo_t queued(int thread, int place)
{
	static const int order[] = {0, 2, 1, 2, 0};
	const int signals[] = {SIGRTMIN + 1, SIGRTMIN + 2, SIGRTMAX};

	return siginfo_make(signals[order[place]], SI_QUEUE,
			    100u * (unsigned int)(thread + 2) + (unsigned int)place);
}

/* Of each number the oldest comes first; numbers do not wait for each other. */
static void expect_queue(int thread)
{
	for (int i = 0; i < EACH; i++) {
		siginfo_t want = queued(thread, i);

		signal_expect(&want);
	}
}

static void be(int i)
{
	siginfo_t one = siginfo_make(SIGUSR1, SI_QUEUE, 7u + (unsigned int)i);

	mask_set(blocked(i));
	tids[i] = gettid();
	for (int place = 0; place < EACH; place++) {
		siginfo_t info = queued(i, place);

		queue_to_thread(tids[i], &info);
	}
	/* Not queued: the second of these is lost. */
	queue_to_thread(tids[i], &one);
	one.si_ptr = NULL;
	queue_to_thread(tids[i], &one);
}

static void check(int i)
{
	const siginfo_t one = siginfo_make(SIGUSR1, SI_QUEUE, 7u + (unsigned int)i);

	CHECK(mask_get() == blocked(i), "thread %d blocks %#llx, not %#llx", i, (long long)mask_get(),
	      (long long)blocked(i));
	expect_queue(i);
	signal_expect(&one);
}

static void *thread(void *argument)
{
	int i = (int)(intptr_t)argument;

	be(i);
	test_post(&ready);
	test_await(&told, 1);
	check(i);
	test_post(&ready);
	return NULL;
}

int main(int argc, char **argv)
{
	siginfo_t ended;
	pthread_t threads[THREADS];
	pid_t child;
	int i;

	test_init(argc, argv);
	be(THREADS);
	for (i = 0; i < THREADS; i++)
		threads[i] = thread_start(thread, (void *)(intptr_t)i);
	test_await(&ready, THREADS);
	for (i = 0; i < EACH; i++) {
		siginfo_t info = queued(-1, i);

		queue_to_process(getpid(), &info);
	}
	child = SYS(fork());
	if (!child)
		_exit(STATUS);
	/* A child that is waited for leaves its signal. */
	CHECK(SYS(waitpid(child, &i, 0)) == child && WEXITSTATUS(i) == STATUS, "the child ended otherwise");
	test_daemon();
	test_waitsig();
	test_post(&told);
	check(THREADS);
	/* What is there for a thread comes before what is there for all of them: they have theirs. */
	test_await(&ready, 2 * THREADS);
	expect_queue(-1);
	CHECK(signal_take(mask_bit(SIGCHLD), &ended) == SIGCHLD, "SIGCHLD is lost");
	CHECK(ended.si_code == CLD_EXITED && ended.si_pid == child && ended.si_uid == getuid() &&
		      ended.si_status == STATUS && !ended.si_errno,
	      "SIGCHLD has code %d, pid %d, uid %d, status %d", ended.si_code, ended.si_pid, ended.si_uid,
	      ended.si_status);
	CHECK(!pending_get(), "%#llx is pending still", (long long)pending_get());
	for (i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	pass();
}
