/*
 * title: hard limits that were lowered stay, each process's own, and cannot be raised
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <sys/resource.h>
#include <unistd.h>

/* Another value for each of them, so low that it can be told from what there was, so high that nothing is
 * missing. */
static rlim_t wanted(int who, int resource)
{
	rlim_t least = resource == RLIMIT_FSIZE ? 1 << 24 : resource == RLIMIT_CPU ? 10000 : 1000;

	return least + 17ul * (rlim_t)resource + 100ul * (rlim_t)who;
}

static bool of_interest(int resource)
{
	return resource != RLIMIT_STACK && resource != RLIMIT_AS && resource != RLIMIT_DATA;
}

static void lower(int who)
{
	struct rlimit limit;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		SYS(getrlimit(i, &limit));
		if (!of_interest(i) || limit.rlim_max < wanted(who, i))
			continue;
		limit.rlim_max = wanted(who, i);
		if (limit.rlim_cur > limit.rlim_max || who)
			limit.rlim_cur = limit.rlim_max - (rlim_t)who;
		SYS(setrlimit(i, &limit));
	}
}

static void look(struct rlimit *limits)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		SYS(getrlimit(i, &limits[i]));
}

static void same(int who, const struct rlimit *was)
{
	struct rlimit now[RLIM_NLIMITS], more;

	look(now);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		CHECK(now[i].rlim_cur == was[i].rlim_cur && now[i].rlim_max == was[i].rlim_max,
		      "%d: limit %d is %lu/%lu instead of %lu/%lu", who, i, now[i].rlim_cur, now[i].rlim_max,
		      was[i].rlim_cur, was[i].rlim_max);
		if (now[i].rlim_max == RLIM_INFINITY)
			continue;
		more = now[i];
		more.rlim_max++;
		CHECK(setrlimit(i, &more) && errno == EPERM, "%d: limit %d can be raised", who, i);
	}
}

int main(int argc, char **argv)
{
	struct rlimit before[RLIM_NLIMITS], usual[RLIM_NLIMITS];
	pid_t children[2];
	uint32_t *words;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	look(usual);
	for (int i = 0; i < 2; i++) {
		children[i] = SYS(fork());
		if (children[i])
			continue;
		if (i)
			lower(i);
		look(before);
		CHECK(memcmp(before, usual, sizeof(before)) ? i : !i, "%d: the limits are wrong", i);
		test_post(&words[0]);
		test_await(&words[1], 1);
		same(i, before);
		_exit(0);
	}
	lower(2);
	look(before);
	test_await(&words[0], 2);
	test_daemon();
	test_waitsig();
	same(2, before);
	test_post(&words[1]);
	for (int i = 0; i < 2; i++)
		test_reap(children[i]);
	pass();
}
