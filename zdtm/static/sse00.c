/*
 * title: single precision sums and products in SSE registers are finished after the restore
 * flavours: host ns userns
 * arch: x86_64
 */
#define SSE_LANE      float
#define SSE_LANES     4
#define SSE_PRECISION "s"
#include "sse.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sse_run();
}
