/*
 * title: double precision sums and products in SSE2 registers are finished after the restore
 * flavours: host ns userns
 * arch: x86_64
 */
#define SSE_LANE      double
#define SSE_LANES     2
#define SSE_PRECISION "d"
#include "sse.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	sse_run();
}
