/*
 * title: mxcsr alone, with no SSE register in use, keeps rounding mode, masks and exception flags
 * flavours: host ns userns
 * arch: x86_64
 */
#include "hold.h"

#include <signal.h>

static uint32_t word;

static void on_term(int sig)
{
	(void)sig;
	word = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	static struct held before, after;
	const char *what;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	held_init(&before);
	/* towards zero, denormals flushed and taken for zero; overflow unmasked; denormal, inexact have
	 * happened */
	before.fx.mxcsr = 0x6000 | 0x8000 | 0x0040 | (0x1f80 & ~0x0400) | 0x0002 | 0x0020;
	test_daemon();
	hold(&before, &after, &word, HOLD_ASLEEP);
	what = held_differs(&before, &after, HOLD_ASLEEP);
	CHECK(!what, "%s is not what it was (mxcsr %x instead of %x)", what, after.fx.mxcsr, before.fx.mxcsr);
	pass();
}
