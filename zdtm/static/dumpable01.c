/*
 * title: a process that may be dumped stays so, and its child that may not stays so
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <sys/prctl.h>
#include <unistd.h>

static int dumpable(void)
{
	return SYS(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
}

int main(int argc, char **argv)
{
	uint32_t *words;
	pid_t child;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	child = SYS(fork());
	if (!child) {
		SYS(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
		test_post(&words[0]);
		test_await(&words[1], 1);
		CHECK(dumpable() == 0, "the child is dumpable: %d", dumpable());
		CHECK(access("/proc/self/environ", R_OK) && errno == EACCES,
		      "it owns its files in /proc: %m");
		_exit(0);
	}
	test_await(&words[0], 1);
	CHECK(dumpable() == 1, "the test is dumpable from the start: %d", dumpable());
	test_daemon();
	test_waitsig();
	CHECK(dumpable() == 1, "the test is dumpable: %d", dumpable());
	CHECK(!access("/proc/self/environ", R_OK), "it does not own its files in /proc: %m");
	test_post(&words[1]);
	test_reap(child);
	pass();
}
