/*
 * title: mxcsr alone, with no SSE register in use, keeps rounding mode, masks and exception flags
 * flavours: host ns userns
 * arch: x86_64
 */
#include "hold.h"

int main(int argc, char **argv)
{
	static struct held before, after;

	test_init(argc, argv);
	held_init(&before);
	/* towards zero, denormals flushed and taken for zero; overflow unmasked; denormal, inexact have
	 * happened */
	before.fx.mxcsr = 0x6000 | 0x8000 | 0x0040 | (0x1f80 & ~0x0400) | 0x0002 | 0x0020;
	hold_through(&before, &after, HOLD_ASLEEP);
	pass();
}
