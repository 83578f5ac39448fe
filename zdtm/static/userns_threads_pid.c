/*
 * title: the same of first processes of pid namespaces, which belong to the user namespace or are around it
 * flavours: ns userns
 * flags: suid
 * cflags: -pthread
 */
#include "userns_threads.h"

int main(int argc, char **argv)
{
	static const struct way ways[] = {{CLONE_NEWPID, true}, {CLONE_NEWPID | CLONE_NEWUSER, false}};

	test_init(argc, argv);
	ways_run(ways, 2);
}
