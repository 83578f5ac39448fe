/*
 * title: the flags of a spinning task survive: direction and arithmetic
 * flavours: host ns userns
 * arch: x86_64
 */
#include "regs_flags.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	flags_run(CF | AF | SF | DF | OF, CF | PF | AF | ZF | SF | DF | OF);
}
