/*
 * title: a restartable sequence is aborted or committed, and never loses its descriptor
 * flavours: host ns userns
 * arch: x86_64
 * needs: get_rseq_conf
 */
#define RSEQ_FLAGS 0
#include "rseq.h"

int main(int argc, char **argv)
{
	unsigned long count[OUTCOMES] = {0};

	test_init(argc, argv);
	rseq_run(rseq_area(), count);
	pass();
}
