/*
 * title: the identification flag, which neither ptrace nor a signal frame can set
 * flavours: host ns userns
 * flags: noauto
 * arch: x86_64
 */
#include "regs_flags.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	flags_run(CF | AF | SF | DF | OF | ID, CF | PF | AF | ZF | SF | DF | OF | ID);
}
