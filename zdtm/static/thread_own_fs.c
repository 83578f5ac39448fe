/*
 * title: a thread with a working directory and umask of its own is refused: images have one for all threads
 * flavours: host ns userns
 * flags: crfail
 * cflags: -pthread
 */
#include "thread_own.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	own_run(CLONE_FS, KCMP_FS);
}
