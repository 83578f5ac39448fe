/*
 * title: A parent and its child in cgroups side by side, of a hierarchy that is mounted.
 * flavours: host ns
 * flags: suid
 * opts: --manage-cgroups
 */
#include "zdtm.h"

#include "cgroup.h"
#include "child.h"

int main(int argc, char **argv)
{
	const char *name;
	struct stat before, after;
	pid_t kid;

	test_init(argc, argv);
	name = cg_named("", "cg");
	cg_mkdir("cg/parent");
	cg_mkdir("cg/child");
	cg_enter("cg/parent");
	SYS(stat("cg", &before));
	kid = child_fork();
	if (!kid) {
		cg_enter("cg/child");
		child_wait();
		cg_is_at(name, "/child");
		_exit(0);
	}
	child_await();

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/parent");
	child_go();
	test_reap(kid);
	SYS(stat("cg", &after));
	CHECK(before.st_ino == after.st_ino, "another cgroup is mounted");
	CHECK(access("cg/parent/tasks", W_OK) == 0, "the hierarchy is not mounted: %m");
	SYS(umount2("cg", MNT_DETACH));
	pass();
}
