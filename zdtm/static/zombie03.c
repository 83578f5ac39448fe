/*
 * title: zombies keep exit codes of 128 and more, and real-time signals
 * flavours: host ns userns
 */
#include "zombies.h"

int main(int argc, char **argv)
{
	static const struct zombie zombies[] = {
		{CLD_EXITED, 0x80}, {CLD_EXITED, 0x91}, {CLD_EXITED, 255},
		{CLD_KILLED, 34},   {CLD_KILLED, 64},	{CLD_KILLED, SIGSEGV},
	};

	test_init(argc, argv);
	zombies_run(zombies, sizeof(zombies) / sizeof(*zombies));
}
