/*
 * title: children share directories and umask with whom they were made to share with
 * flavours: host ns userns
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	static const struct sharing_task tasks[] = {
		{0, CLONE_FS}, {0, 0}, {0, CLONE_FS}, {1, CLONE_FS}, {2, CLONE_FS}, {2, 0},
	};

	test_init(argc, argv);
	sharing_run(tasks, sizeof(tasks) / sizeof(*tasks));
}
