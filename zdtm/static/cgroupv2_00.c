/*
 * title: A threaded cgroup of version 2, in a threaded domain, with limits of what may be below.
 * flavours: host ns
 * flags: suid
 * opts: --manage-cgroups=full
 */
#include "zdtm.h"

#include "cgroup.h"

int main(int argc, char **argv)
{
	char top[96], below[128], *control, enabled[256] = "";

	test_init(argc, argv);
	cg_mount(NULL, "cg");
	snprintf(top, sizeof(top), "cg/%s", cg_name(""));
	snprintf(below, sizeof(below), "%s/threaded", top);
	cg_mkdir(top);
	/* those that threads can have apart, if this machine has given any to version 2 */
	control = cg_read(top, "cgroup.controllers");
	for (char *name; (name = strsep(&control, " "));)
		if (!strcmp(name, "cpuset") || !strcmp(name, "pids") || !strcmp(name, "cpu")) {
			cg_write(name[0] == 'c' ? (name[3] ? "+cpuset" : "+cpu") : "+pids",
				 "%s/cgroup.subtree_control", top);
			snprintf(enabled, sizeof(enabled), "%s", cg_read(top, "cgroup.subtree_control"));
		}
	cg_mkdir(below);
	cg_write("threaded", "%s/cgroup.type", below);
	cg_write("5", "%s/cgroup.max.depth", top);
	cg_write("9", "%s/cgroup.max.descendants", top);
	cg_enter(below);

	test_daemon();
	test_waitsig();

	cg_is_at("", strchr(below, '/'));
	cg_says(top, "cgroup.type", "domain threaded");
	cg_says(below, "cgroup.type", "threaded");
	cg_says(top, "cgroup.subtree_control", enabled);
	cg_says(top, "cgroup.max.depth", "5");
	cg_says(top, "cgroup.max.descendants", "9");
	SYS(umount2("cg", MNT_DETACH));
	pass();
}
