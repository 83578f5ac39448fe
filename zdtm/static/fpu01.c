/*
 * title: AVX registers of a sleeping task hold what they held, both halves
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx
 */
#include "hold.h"

int main(int argc, char **argv)
{
	static struct held before, after;

	test_init(argc, argv);
	held_init(&before);
	test_fill(before.fx.xmm, sizeof(before.fx.xmm), 1);
	test_fill(before.high, sizeof(before.high), 2);
	hold_through(&before, &after, HOLD_ASLEEP | HOLD_AVX);
	pass();
}
