/*
 * title: a process without transparent huge pages gets none, its child that took that back may have them
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void check(const char *who, int wanted)
{
	const char *line = strstr(test_read_file("/proc/self/status", NULL), "\nTHP_enabled:");
	int now = SYS(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));

	CHECK(now == wanted, "%s: disabled is %d instead of %d", who, now, wanted);
	CHECK(!line || atoi(line + strlen("\nTHP_enabled:")) == !wanted, "%s: status says otherwise", who);
}

int main(int argc, char **argv)
{
	pid_t children[2];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	SYS(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	for (int i = 0; i < 2; i++) {
		children[i] = SYS(fork());
		if (children[i])
			continue;
		if (i)
			SYS(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
		test_post(&words[0]);
		test_await(&words[1], 1);
		check(i ? "the child that took it back" : "the child", !i);
		_exit(0);
	}
	test_await(&words[0], 2);
	check("the test, before", 1);
	test_daemon();
	test_waitsig();
	check("the test", 1);
	test_post(&words[1]);
	for (int i = 0; i < 2; i++)
		test_reap(children[i]);
	pass();
}
