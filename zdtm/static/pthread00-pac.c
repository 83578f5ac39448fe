/*
 * title: functions return through addresses that were signed before the dump: each task's keys are its own
 * flavours: host ns userns
 * arch: aarch64
 * cflags: -pthread -mbranch-protection=standard
 */
#include "tls_tasks.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	tls_tasks();
}
