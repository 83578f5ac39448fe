/*
 * title: a task that Landlock restricts is not dumped, and goes on restricted
 * flavours: host ns userns
 * flags: crfail
 */
#include "landlock.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	landlock_restrict();
	landlock_check("before", true);
	test_daemon();
	test_waitsig();
	landlock_check("after", true);
	pass();
}
