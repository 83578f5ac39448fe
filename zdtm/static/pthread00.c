/*
 * title: thread-local bytes of threads, of their threads and of their forks are each one's own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "tls_tasks.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tls_tasks();
}
