/* For tests of process groups: tasks of a tree that count the signals that reach them. */
#ifndef PGRP_H
#define PGRP_H

#include "tree.h"

static volatile sig_atomic_t pgrp_signals;

static void pgrp_count(int sig)
{
	(void)sig;
	pgrp_signals++;
}

static void pgrp_counts(struct tree_task *self, int argument)
{
	struct sigaction action = {.sa_handler = pgrp_count, .sa_flags = SA_RESTART};

	(void)self, (void)argument;
	SYS(sigaction(SIGUSR1, &action, NULL));
}

static void pgrp_has_counted(struct tree_task *self, int wanted)
{
	CHECK(pgrp_signals == wanted, "task %d got %d signals instead of %d", tree_number(self),
	      (int)pgrp_signals, wanted);
}

#endif
