/*
 * title: zombies keep their exit codes and the signals that killed them
 * flavours: host ns userns
 */
#include "zombies.h"

int main(int argc, char **argv)
{
	static const struct zombie zombies[] = {
		{CLD_EXITED, 0},       {CLD_EXITED, 1},	      {CLD_EXITED, 0x71},
		{CLD_KILLED, SIGKILL}, {CLD_KILLED, SIGUSR1}, {CLD_KILLED, SIGABRT},
	};

	test_init(argc, argv);
	zombies_run(zombies, sizeof(zombies) / sizeof(*zombies));
}
