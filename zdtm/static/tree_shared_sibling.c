/*
 * title: brothers share what they do not share with their parent
 * flavours: host ns userns
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	static const struct sharing_task tasks[] = {
		{0, 0},
		{1, CLONE_PARENT | CLONE_FILES},
		{1, CLONE_PARENT | CLONE_FS},
		{1, CLONE_PARENT | CLONE_VM},
		{2, CLONE_PARENT | CLONE_FILES | CLONE_FS},
	};

	test_init(argc, argv);
	sharing_run(tasks, sizeof(tasks) / sizeof(*tasks));
}
