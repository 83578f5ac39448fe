/* Runs of pages: lists of them, one with another, and some of them apart. */
#include "runs.h"

#include <errno.h>
#include <stdlib.h>

int add_pages(struct list *l, unsigned long start, unsigned long pages, unsigned long flags)
{
	struct zd_run *last = l->runs + l->count - 1;

	if (l->count && last->flags == flags && last->start + last->pages * PAGE == start) {
		last->pages += pages;
		return 0;
	}
	if (l->count == l->room) {
		unsigned long room = l->room ? l->room + l->room / 2 : 1024;
		struct zd_run *more = realloc(l->runs, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->runs = more;
		l->room = room;
	}
	l->runs[l->count++] = (struct zd_run){start, pages, flags};
	return 0;
}

void zd_free_runs(struct zd_run *runs)
{
	free(runs);
}

/* Both lists of runs, in the order of their addresses, the others with a flag, into `out`. */
long zd_merge_runs(const struct zd_run *runs, unsigned long count, const struct zd_run *others,
		   unsigned long nothers, unsigned flag, struct zd_run *out)
{
	unsigned long i = 0, j = 0;

	while (i < count || j < nothers)
		if (j == nothers || (i < count && runs[i].start < others[j].start)) {
			out[i + j] = runs[i];
			i++;
		} else {
			out[i + j] = others[j];
			out[i + j].flags |= flag;
			j++;
		}
	return i + j;
}

/* Take those apart that have an owner (zd_frames_split), but for the whole ones. Returns how many are `own`.
 */
long zd_own_runs(const struct zd_run *runs, unsigned long count, struct zd_run *own, struct zd_run *others)
{
	unsigned long n = 0, m = 0;

	for (unsigned long i = 0; i < count; i++)
		if (runs[i].flags >> 32 && !(runs[i].flags & ZD_WHOLE))
			others[m++] = runs[i];
		else
			own[n++] = runs[i];
	return n;
}
