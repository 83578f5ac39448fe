/*
 * title: processes that any of their threads ends, or has execute a program, all of them as they should
 * flavours: host ns userns
 * cflags: -pthread
 * ignore: children threads
 */
#include "../static/threads.h"

#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

enum { AT_ONCE = 4, NAP_NS = 4000000, KINDS = 5 };

static uint32_t number; /* of the child */

static int status_of(uint32_t child)
{
	return 1 + (int)(child % 100);
}

static void nap(void)
{
	struct timespec rest = {0, (long)(number * 2654435761u % NAP_NS)};

	while (nanosleep(&rest, &rest))
		CHECK(errno == EINTR, "nanosleep: %m");
}

/* This program again, under the same pid: `thread_exec again NUMBER PID`. */
static _Noreturn void execute(void)
{
	char words[2][16];

	snprintf(words[0], sizeof(words[0]), "%u", number);
	snprintf(words[1], sizeof(words[1]), "%d", getpid());
	execl("/proc/self/exe", "thread_exec", "again", words[0], words[1], NULL);
	fail("execl: %m");
}

static _Noreturn void again(char **words)
{
	CHECK(atoi(words[3]) == getpid() && gettid() == getpid(), "pid %s has become %d, thread %d", words[3],
	      getpid(), gettid());
	number = (uint32_t)atoi(words[2]);
	nap();
	_exit(status_of(number));
}

static void *sleeper(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void *worker(void *kind)
{
	nap();
	if ((uintptr_t)kind == 1)
		execute();
	_exit(status_of(number));
}

/* Ends, or executes, by another thread, by the first one, or by another when the first one is gone. */
static _Noreturn void child(void)
{
	uintptr_t kind = number % KINDS;

	thread_start(sleeper, NULL);
	if (kind == 0 || kind == 1 || kind == 4)
		thread_start(worker, (void *)kind);
	if (kind == 4)
		syscall(SYS_exit, 0);
	if (kind == 0 || kind == 1)
		sleeper(NULL);
	nap();
	if (kind == 2)
		execute();
	_exit(status_of(number));
}

int main(int argc, char **argv)
{
	uint32_t alive[AT_ONCE] = {0};
	pid_t pids[AT_ONCE], ended;
	int i, status, count = 0;

	if (argc > 3 && !strcmp(argv[1], "again"))
		again(argv);
	test_init(argc, argv);
	test_daemon();
	while (test_go() || number < 4 * KINDS || count) {
		for (i = 0; (test_go() || number < 4 * KINDS) && i < AT_ONCE; i++) {
			if (alive[i])
				continue;
			alive[i] = ++number;
			pids[i] = SYS(fork());
			if (!pids[i])
				child();
			count++;
		}
		if (!count)
			break;
		do
			ended = waitpid(-1, &status, 0);
		while (ended == -1 && errno == EINTR);
		CHECK(ended > 0, "waitpid with %d children: %m", count);
		for (i = 0; i < AT_ONCE && !(alive[i] && pids[i] == ended); i++)
			;
		CHECK(i < AT_ONCE, "pid %d is no child of the test's", ended);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == status_of(alive[i]),
		      "child %u ended with wait status %#x", alive[i], status);
		alive[i] = 0;
		count--;
	}
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there is a child that nobody forked");
	pass();
}
