/*
 * title: soft and hard limits stay, each of them
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit before[RLIM_NLIMITS], now;
	int i;

	test_init(argc, argv);
	for (i = 0; i < RLIM_NLIMITS; i++) {
		SYS(getrlimit(i, &before[i]));
		/* Odd numbers, different for each limit; what is low already only goes down by one. */
		if (before[i].rlim_cur == RLIM_INFINITY)
			before[i].rlim_cur = (1UL << 40) + 4097 * (unsigned long)i;
		else if (before[i].rlim_cur > 0)
			before[i].rlim_cur--;
		SYS(setrlimit(i, &before[i]));
	}
	test_daemon();
	test_waitsig();
	for (i = 0; i < RLIM_NLIMITS; i++) {
		SYS(getrlimit(i, &now));
		CHECK(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max,
		      "limit %d is %lu/%lu instead of %lu/%lu", i, now.rlim_cur, now.rlim_max,
		      before[i].rlim_cur, before[i].rlim_max);
	}
	pass();
}
