/*
 * title: threads in user namespaces below the tree's keep numbers, ids, capabilities, namespaces, timers
 * flavours: host ns userns
 * flags: suid
 * cflags: -pthread
 */
#include "userns_threads.h"

int main(int argc, char **argv)
{
	static const struct way ways[] = {{0, true}};

	test_init(argc, argv);
	ways_run(ways, 1);
}
