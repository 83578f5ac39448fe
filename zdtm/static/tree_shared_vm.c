/*
 * title: children share memory and signal actions with whom they were made to share with
 * flavours: host ns userns
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	static const struct sharing_task tasks[] = {
		{0, CLONE_VM}, {0, CLONE_VM | CLONE_SIGHAND}, {0, 0},
		{1, CLONE_VM}, {3, CLONE_VM | CLONE_SIGHAND},
	};

	test_init(argc, argv);
	sharing_run(tasks, sizeof(tasks) / sizeof(*tasks));
}
