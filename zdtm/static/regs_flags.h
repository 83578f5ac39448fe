/* The flags register of a task that spins, through a checkpoint. */
#ifndef REGS_FLAGS_H
#define REGS_FLAGS_H

#include <signal.h>

#include "zdtm.h"

enum {
	CF = 1 << 0,
	PF = 1 << 2,
	AF = 1 << 4,
	ZF = 1 << 6,
	SF = 1 << 7,
	DF = 1 << 10,
	OF = 1 << 11,
	ID = 1 << 21,
};

static volatile uint64_t flags_stop;

static void flags_on_term(int sig)
{
	(void)sig;
	flags_stop = 1;
}

/* Spin with these flags, touching none of them; returns what they are then. */
static uint64_t flags_spin(uint64_t flags)
{
	uint64_t own;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n" /* not onto the red zone */
			 "pushfq; pop %[own]\n"
			 "push %[flags]; popfq\n"
			 "1: mov %[stop], %%rcx\n"
			 "jrcxz 1b\n"
			 "pushfq; pop %[flags]\n"
			 "push %[own]; popfq\n"
			 "lea 128(%%rsp), %%rsp\n"
			 : [flags] "+r"(flags), [own] "=&r"(own)
			 : [stop] "m"(flags_stop)
			 : "rcx", "cc", "memory");
	return flags;
}

/* The whole of a case: these flags have to be set afterwards, and of all that a case looks at no others. */
static _Noreturn void flags_run(uint64_t want, uint64_t all)
{
	struct sigaction action = {.sa_handler = flags_on_term};
	uint64_t got;

	SYS(sigaction(SIGTERM, &action, NULL));
	test_daemon();
	got = flags_spin(want);
	CHECK((got & all) == want, "the flags are %lx instead of %lx", got & all, want);
	pass();
}

#endif
