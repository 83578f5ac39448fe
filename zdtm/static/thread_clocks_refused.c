/*
 * title: a thread whose children are in a time namespace that its process has not is refused by name
 * flavours: host ns userns
 * flags: suid crfail
 * needs: timens
 * cflags: -pthread
 */
#include "threads.h"
#include "timens.h"

static uint32_t born;
static pid_t kid;

static void *run(void *unused)
{
	timens_make(1000);
	kid = SYS(fork());
	if (!kid) {
		child_wait();
		_exit(0);
	}
	test_post(&born);
	child_await_go();
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	thread = thread_start(run, NULL);
	test_await(&born, 1);
	child_await();
	test_daemon();
	test_waitsig();
	child_go();
	thread_join(thread);
	test_reap(kid);
	pass();
}
