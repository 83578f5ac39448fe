/*
 * title: file systems of many kinds, groups, slaves, what lies over others, binds of files, two namespaces
 * flavours: ns
 * flags: suid
 */
#include "mount.h"

#include <linux/magic.h>

static const struct {
	const char *name;
	unsigned long flags;
	const char *options;
	long magic;
} kinds[] = {
	{"tmpfs", MS_NOEXEC, "size=64k,nr_inodes=9,mode=0750", TMPFS_MAGIC},
	{"proc", MS_NOSUID | MS_RDONLY, "hidepid=invisible", PROC_SUPER_MAGIC},
	{"sysfs", MS_RDONLY | MS_NODIRATIME, NULL, SYSFS_MAGIC},
	{"devpts", MS_NOSUID, "newinstance,ptmxmode=0666,mode=620", DEVPTS_SUPER_MAGIC},
	{"mqueue", MS_NODEV, NULL, 0x19800202},
	{"devtmpfs", MS_NOATIME, NULL, TMPFS_MAGIC},
	{"debugfs", MS_RDONLY, NULL, DEBUGFS_MAGIC},
	{"tracefs", MS_RDONLY, NULL, TRACEFS_MAGIC},
	{"securityfs", MS_RDONLY, NULL, SECURITYFS_MAGIC},
	{"fusectl", MS_RDONLY, NULL, 0x65735543},
	{"pstore", MS_RDONLY | MS_STRICTATIME, NULL, 0x6165676c},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

static void child_makes(void)
{
	propagation("group", MS_SLAVE);
	SYS(mount("child", "child", "tmpfs", 0, NULL));
	write_file("child/file", "the child's");
	unmount("proc");
}

static void child_checks(void)
{
	check_file("child/file", "the child's");
	CHECK(!is_mount_point("proc"), "proc is there");
	CHECK(is_mount_point("group/late"), "it is no slave any more");
	unmount("group/late");
}

int main(int argc, char **argv)
{
	struct mount_child child;
	struct statfs fs;
	struct stat st;

	test_init(argc, argv);
	for (int i = 0; i < KINDS; i++) {
		SYS(mkdir(kinds[i].name, 0755));
		if (mount(kinds[i].name, kinds[i].name, kinds[i].name, kinds[i].flags, kinds[i].options) < 0)
			CHECK(errno == ENODEV, "%s: %m", kinds[i].name);
	}
	new_tmpfs("group");
	propagation("group", MS_SHARED);
	new_bind("group", "slave");
	propagation("slave", MS_SLAVE);
	new_bind("slave", "both");
	propagation("both", MS_SHARED);
	SYS(mkdir("group/below", 0755));
	SYS(mount("below", "group/below", "tmpfs", 0, NULL));
	SYS(mkdir("over", 0755));
	SYS(mount("over1", "over", "tmpfs", 0, NULL));
	write_file("over/file", "first");
	SYS(mount("over2", "over", "tmpfs", 0, NULL));
	write_file("over/file", "second");
	write_file("target", "");
	bind_mount("over/file", "target");
	SYS(mount("over3", "over", "tmpfs", MS_RDONLY, NULL));
	SYS(mkdir("child", 0755));
	SYS(mkdir("group/late", 0755));
	child = mount_child(child_makes, child_checks);

	test_daemon();
	test_waitsig();
	for (int i = 0; i < KINDS; i++) {
		if (!is_mount_point(kinds[i].name))
			continue;
		SYS(statfs(kinds[i].name, &fs));
		CHECK(fs.f_type == kinds[i].magic, "%s is of type %#lx", kinds[i].name, fs.f_type);
		CHECK((fs.f_flags & 1 /* ST_RDONLY */) == (kinds[i].flags & MS_RDONLY), "%s: flags %#lx",
		      kinds[i].name, fs.f_flags);
	}
	SYS(statfs("tmpfs", &fs));
	CHECK(fs.f_blocks * (unsigned long)fs.f_bsize == 64 << 10 && fs.f_files == 9,
	      "room for %lu, %lu files", fs.f_blocks, fs.f_files);
	SYS(stat("tmpfs", &st));
	CHECK((st.st_mode & 07777) == 0750, "mode %o", st.st_mode);
	SYS(stat("devpts/ptmx", &st));
	CHECK((st.st_mode & 07777) == 0666, "mode %o", st.st_mode);
	check_absent("child/file");
	SYS(mount("late", "group/late", "tmpfs", 0, NULL));
	mount_child_checks(&child);
	CHECK(is_mount_point("slave/late") && is_mount_point("both/late"), "slaves are none");
	unmount("both/late");
	CHECK(is_mount_point("slave/late") && is_mount_point("group/late"), "slaves are peers");
	check_same_place("slave/below", "both/below", true);
	check_same_place("group/below", "both/below", true);
	unmount("over");
	check_file("over/file", "second");
	write_file("target", "by the bind");
	check_file("over/file", "by the bind");
	unmount("over");
	check_file("over/file", "first");
	unmount("over");
	check_absent("over/file");

	pass();
}
