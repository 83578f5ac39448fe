/*
 * title: the list of supplementary groups stays, with one more that was added
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <grp.h>
#include <unistd.h>

enum { MOST = 1000 };

static int look(gid_t *groups)
{
	return SYS(getgroups(MOST, groups));
}

static void same(const char *who, const gid_t *was, int count)
{
	gid_t now[MOST];
	int number = look(now);

	CHECK(number == count, "%s has %d groups instead of %d", who, number, count);
	for (int i = 0; i < count; i++)
		CHECK(now[i] == was[i], "%s: group %d is %u instead of %u", who, i, now[i], was[i]);
}

int main(int argc, char **argv)
{
	gid_t groups[MOST];
	uint32_t *words;
	pid_t child;
	int count;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	count = look(groups);
	CHECK(count + 1 < MOST, "too many groups");
	groups[count++] = 31337;
	SYS(setgroups(count, groups));
	/* The kernel sorts them. */
	CHECK(look(groups) == count, "%d groups instead of %d from the start", look(groups), count);
	child = SYS(fork());
	if (!child) {
		/* So many that they do not fit into what one expects. */
		for (count = 0; count < 500; count++)
			groups[count] = (gid_t)(1000 + 3 * count);
		SYS(setgroups(count, groups));
		test_post(&words[0]);
		test_await(&words[1], 1);
		same("the child", groups, count);
		_exit(0);
	}
	test_await(&words[0], 1);
	test_daemon();
	test_waitsig();
	same("the test", groups, count);
	test_post(&words[1]);
	test_reap(child);
	pass();
}
