/*
 * title: as pid_reuse, for a caller of RPC that keeps pidfds from one dump to the next
 * flavours: host ns userns
 * flags: noauto suid
 * needs: pidfd_store
 * ignore: children
 */
#include "pid_reuse.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	pid_reuse_run();
}
