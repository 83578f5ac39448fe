/*
 * title: a thread with descriptors of its own is refused: images have one for all threads
 * flavours: host ns userns
 * flags: crfail
 * cflags: -pthread
 */
#include "thread_own.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	own_run(CLONE_FILES, KCMP_FILES);
}
