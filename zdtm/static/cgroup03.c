/*
 * title: Owner, group and mode of a cgroup and of its files, and its switches.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 */
#include "zdtm.h"

#include "cgroup.h"

static const struct {
	const char *path;
	uid_t uid;
	gid_t gid;
	mode_t mode;
} wanted[] = {
	{"cg/one", 18943, 58467, 0711},
	{"cg/one/tasks", 18943, 0, 0600},
	{"cg/one/cgroup.procs", 1, 58467, 0646},
	{"cg/one/notify_on_release", 3, 4, 0440},
	{"cg/one/cgroup.clone_children", 0, 0, 0644},
	{"cg/one/two", 5, 6, 01777},
	{"cg/one/two/tasks", 0, 7, 0644},
};

int main(int argc, char **argv)
{
	const char *name;

	test_init(argc, argv);
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_write("1", "cg/one/notify_on_release");
	cg_write("1", "cg/one/two/cgroup.clone_children");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		SYS(chown(wanted[i].path, wanted[i].uid, wanted[i].gid));
		SYS(chmod(wanted[i].path, wanted[i].mode));
	}
	cg_enter("cg/one");
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/one");
	cg_again(name, "cg");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct stat st;

		SYS(stat(wanted[i].path, &st));
		CHECK(st.st_uid == wanted[i].uid && st.st_gid == wanted[i].gid, "%s is of %d:%d",
		      wanted[i].path, st.st_uid, st.st_gid);
		CHECK((st.st_mode & 07777) == wanted[i].mode, "%s has mode %o", wanted[i].path, st.st_mode);
	}
	cg_says("cg/one", "notify_on_release", "1");
	cg_says("cg/one", "cgroup.clone_children", "0");
	cg_says("cg/one/two", "notify_on_release", "0");
	cg_says("cg/one/two", "cgroup.clone_children", "1");
	cg_umount("cg");
	pass();
}
