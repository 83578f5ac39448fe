/*
 * title: children share descriptors, directories, actions and memory in every combination
 * flavours: host ns userns
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	static const struct sharing_task tasks[] = {
		{0, CLONE_FILES},
		{0, CLONE_FS},
		{0, CLONE_VM},
		{0, CLONE_VM | CLONE_SIGHAND},
		{0, CLONE_FILES | CLONE_FS},
		{0, CLONE_FILES | CLONE_VM},
		{0, CLONE_FS | CLONE_VM | CLONE_SIGHAND},
		{0, CLONE_FILES | CLONE_FS | CLONE_VM | CLONE_SIGHAND},
		{0, 0},
		{9, CLONE_FILES | CLONE_FS | CLONE_VM | CLONE_SIGHAND},
		{1, CLONE_FS},
	};

	test_init(argc, argv);
	sharing_run(tasks, sizeof(tasks) / sizeof(*tasks));
}
