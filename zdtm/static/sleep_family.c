/*
 * title: children of a task that sleeps by a clock are saved with it
 * flavours: host ns userns
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "zdtm.h"

static uint32_t *woken;

static void on_term(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	struct timespec length = {3600, 0};
	pid_t child;
	int status;

	test_init(argc, argv);
	woken = test_shared(sizeof(*woken));
	SYS(child = fork());
	if (child == 0) {
		test_await(woken, 1);
		_exit(42);
	}
	SYS(sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL));
	test_daemon();
	/* not test_waitsig(): the only call that all of this hangs on is a sleep */
	CHECK(nanosleep(&length, &length) < 0 && errno == EINTR, "the sleep ended by itself");
	test_post(woken);
	CHECK(waitpid(child, &status, 0) == child, "the child is gone: %m");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "the child ended with %#x", status);
	pass();
}
