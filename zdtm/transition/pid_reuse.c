/*
 * title: the pid of a child is used again and again, and no child has the memory of another
 * flavours: host ns userns
 * flags: suid
 * ignore: children
 */
#include "pid_reuse.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	pid_reuse_run();
}
