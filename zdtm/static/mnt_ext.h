/* A mount from outside on ext/ (the hook's part), a node from there on zero, and copies of the former. */
#include "mount.h"

#include <sys/sysmacros.h>

int main(int argc, char **argv)
{
	static const char *const copies[] = {"ext", "shared", "private", "slave", "both"};
	struct stat before, now;
	char path[64];

	test_init(argc, argv);
	for (int i = 0; i < 5; i++)
		SYS(mkdir(copies[i], 0755));
	write_file("zero", "");
	test_outside();
	propagation("ext", MS_SHARED);
	for (int i = 1; i < 5; i++)
		bind_mount("ext", copies[i]);
	propagation("private", MS_PRIVATE);
	propagation("slave", MS_SLAVE);
	propagation("both", MS_SLAVE);
	propagation("both", MS_SHARED);
	SYS(stat("ext/file", &before));

	test_daemon();
	test_waitsig();
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/file", copies[i]);
		SYS(stat(path, &now));
		CHECK(now.st_dev == before.st_dev && now.st_ino == before.st_ino, "%s is another file", path);
	}
	check_propagates("ext", "shared", true);
	check_propagates("shared", "ext", true);
	check_propagates("ext", "private", false);
	check_propagates("ext", "slave", true);
	check_propagates("slave", "ext", false);
	check_propagates("ext", "both", true);
	check_propagates("both", "ext", false);
	SYS(stat("zero", &now));
	CHECK(S_ISCHR(now.st_mode) && now.st_rdev == makedev(1, 5), "the node is %o %lx", now.st_mode,
	      now.st_rdev);

	pass();
}
