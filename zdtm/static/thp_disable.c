/*
 * title: a process without transparent huge pages gets none, its child that took that back may have them
 * flavours: host ns userns
 */
#include "memory.h"

#include <sys/prctl.h>

static void check(const char *who, int wanted)
{
	const char *line = strstr(test_read_file("/proc/self/status", NULL), "\nTHP_enabled:");
	int now = SYS(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));

	CHECK(now == wanted, "%s: disabled is %d instead of %d", who, now, wanted);
	CHECK(!line || atoi(line + strlen("\nTHP_enabled:")) == !wanted, "%s: status says otherwise", who);
}

int main(int argc, char **argv)
{
	char flags[2][SMAPS_LINE], now[SMAPS_LINE];
	unsigned char *areas[2];
	pid_t children[2];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	/* One of them is advised: what it says is not what is done, as long as it is taken away. */
	for (int i = 0; i < 2; i++) {
		areas[i] = map_anonymous(4 * MIB, MAP_PRIVATE);
		if (i && madvise(areas[i], 4 * MIB, MADV_HUGEPAGE))
			CHECK(errno == EINVAL, "madvise: %m");
		smaps(areas[i], 1, "VmFlags", flags[i]);
	}
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
	SYS(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
	check("the test, afterwards", 0);
	for (int i = 0; i < 2; i++) {
		smaps(areas[i], 1, "VmFlags", now);
		CHECK(!strcmp(now, flags[i]), "area %d has flags%s instead of%s", i, now, flags[i]);
	}
	test_post(&words[1]);
	for (int i = 0; i < 2; i++)
		test_reap(children[i]);
	pass();
}
