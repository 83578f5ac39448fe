/*
 * title: a shared sysfs and its slave, one of them covered
 * flavours: ns
 * flags: suid
 */
#include "mount.h"

static void check_same_file(const char *one, const char *other)
{
	struct stat st[2];

	SYS(stat(one, st));
	SYS(stat(other, st + 1));
	CHECK(st[0].st_dev == st[1].st_dev && st[0].st_ino == st[1].st_ino, "%s and %s differ", one, other);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	SYS(mkdir("sys", 0755));
	SYS(mount("sysfs", "sys", "sysfs", 0, NULL));
	propagation("sys", MS_SHARED);
	new_bind("sys", "slave");
	propagation("slave", MS_SLAVE);
	SYS(mount("over", "sys", "tmpfs", 0, NULL));

	test_daemon();
	test_waitsig();
	check_absent("sys/kernel");
	CHECK(is_mount_point("slave"), "the slave is gone");
	unmount("sys");
	check_same_file("sys/kernel", "slave/kernel");

	pass();
}
