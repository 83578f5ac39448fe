/*
 * title: children share the descriptors of whom they were made to share with
 * flavours: host ns userns
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	static const struct sharing_task tasks[] = {
		{0, CLONE_FILES}, {0, 0}, {0, CLONE_FILES}, {1, CLONE_FILES}, {2, CLONE_FILES}, {2, 0},
	};

	test_init(argc, argv);
	sharing_run(tasks, sizeof(tasks) / sizeof(*tasks));
}
