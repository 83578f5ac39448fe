/* Lists of runs of pages that grow, and the clock of statistics: for native code alone. */
#ifndef RUNS_H
#define RUNS_H

#include <stdint.h>
#include <time.h>

#include "native.h"

#define PAGE 4096ul

struct list {
	struct zd_run *runs;
	unsigned long count, room;
};

/* Append pages to a list, to its last run where they continue it: 0 or -ENOMEM. */
int add_pages(struct list *l, unsigned long start, unsigned long pages, unsigned long flags);

static inline int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

#endif
