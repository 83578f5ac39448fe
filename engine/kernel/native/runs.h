/* Lists of runs of pages that grow: for native code alone. */
#ifndef RUNS_H
#define RUNS_H

#include "clock.h"
#include "native.h"

#define PAGE 4096ul

struct list {
	struct zd_run *runs;
	unsigned long count, room;
};

/* Append pages to a list, to its last run where they continue it: 0 or -ENOMEM. */
int add_pages(struct list *l, unsigned long start, unsigned long pages, unsigned long flags);

#endif
