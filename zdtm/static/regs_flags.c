/*
 * title: the flags of a spinning task survive: direction and arithmetic
 * flavours: host ns userns
 * arch: x86_64
 */
#include "zdtm.h"

#include <signal.h>

enum { CF = 1 << 0, PF = 1 << 2, AF = 1 << 4, ZF = 1 << 6, SF = 1 << 7, DF = 1 << 10, OF = 1 << 11 };
#define ALL ((uint64_t)(CF | PF | AF | ZF | SF | DF | OF))

static volatile uint64_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* Spin with these flags, touching none of them; returns what they are then. */
static uint64_t spin(uint64_t flags)
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
			 : [stop] "m"(stop)
			 : "rcx", "cc", "memory");
	return flags;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	uint64_t want = CF | AF | SF | DF | OF, got;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	test_daemon();
	got = spin(want);
	CHECK((got & ALL) == want, "the flags are %lx instead of %lx", got & ALL, want);
	pass();
}
