/*
 * title: a process that gets huge pages only where it advises them stays one; of its children each is its own
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <sys/prctl.h>
#include <unistd.h>

enum { EXCEPT_ADVISED = 1 << 1, TASKS = 3 };

static const int wanted[TASKS] = {1 | EXCEPT_ADVISED, 1, 0};

static void check(int task)
{
	int now = SYS(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));

	CHECK(now == wanted[task], "task %d: it is %d instead of %d", task, now, wanted[task]);
}

int main(int argc, char **argv)
{
	pid_t children[TASKS];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	if (prctl(PR_SET_THP_DISABLE, 1, EXCEPT_ADVISED, 0, 0))
		skip("this kernel makes no exception (before 6.18): %m");
	for (int i = 1; i < TASKS; i++) {
		children[i] = SYS(fork());
		if (children[i])
			continue;
		SYS(prctl(PR_SET_THP_DISABLE, wanted[i], 0, 0, 0));
		test_post(&words[0]);
		test_await(&words[1], 1);
		check(i);
		_exit(0);
	}
	test_await(&words[0], TASKS - 1);
	check(0);
	test_daemon();
	test_waitsig();
	check(0);
	test_post(&words[1]);
	for (int i = 1; i < TASKS; i++)
		test_reap(children[i]);
	pass();
}
