/*
 * title: Two hierarchies whose topmost cgroups are put elsewhere, with an open directory of one.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 * ignore: cgroup descriptors
 */
#include "zdtm.h"

#include "cgroup.h"

int main(int argc, char **argv)
{
	const char *name, *other;
	struct stat before, after;
	char moved[PATH_MAX];
	int fd;

	test_init(argc, argv);
	name = cg_named("", "cg");
	other = cg_named(".other", "other");
	cg_mkdir("cg/prefix");
	cg_write("1", "cg/prefix/notify_on_release");
	cg_mkdir("cg/prefix/beside");
	cg_mkdir("cg/prefix/sub");
	cg_mkdir("other/top");
	cg_mkdir("other/top/sub");
	cg_enter("cg/prefix/sub");
	cg_enter("other/top");
	fd = SYS(open("cg/prefix/sub", O_RDONLY | O_DIRECTORY));
	SYS(fstat(fd, &before));

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/prefix/sub");
	cg_says("cg/prefix", "notify_on_release", "1");
	CHECK(access("cg/prefix/beside", F_OK) == 0, "what was beside is not there");
	SYS(fstat(fd, &after));
	SYS(stat("cg/prefix/sub", &before));
	CHECK(after.st_ino == before.st_ino && S_ISDIR(after.st_mode), "the open directory is another");
	CHECK(faccessat(fd, "tasks", R_OK, 0) == 0, "the open directory is of no cgroup: %m");
	/* without a restore in between it is where it was */
	snprintf(moved, sizeof(moved), "other%s", cg_where(other));
	CHECK(faccessat(AT_FDCWD, moved, F_OK, 0) == 0, "%s: %m", moved);
	CHECK(access(strcat(moved, "/sub"), F_OK) == 0, "%s: %m", moved);
	SYS(umount2("cg", MNT_DETACH));
	SYS(umount2("other", MNT_DETACH));
	pass();
}
