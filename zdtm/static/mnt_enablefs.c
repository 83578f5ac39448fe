/*
 * title: file systems that the engine does not know, by --enable-fs, with their options
 * flavours: ns
 * flags: suid
 * opts: --enable-fs bpf,hugetlbfs
 * needs: mnt_id
 */
#include "mount.h"

#include <linux/magic.h>

int main(int argc, char **argv)
{
	struct statfs fs;
	struct stat st;

	test_init(argc, argv);
	SYS(mkdir("bpf", 0755));
	SYS(mkdir("huge", 0755));
	SYS(mount("bpffs", "bpf", "bpf", MS_NOSUID, "mode=0751"));
	SYS(mount("pages", "huge", "hugetlbfs", 0, "mode=1770,size=4M,uid=7"));

	test_daemon();
	test_waitsig();
	SYS(statfs("bpf", &fs));
	CHECK(fs.f_type == BPF_FS_MAGIC, "another file system: %#lx", fs.f_type);
	CHECK(fs.f_flags & 2 /* ST_NOSUID */, "set-user-ID bits are honoured");
	SYS(statfs("huge", &fs));
	CHECK(fs.f_type == HUGETLBFS_MAGIC && fs.f_blocks == 2, "file system %#lx of %lu pages", fs.f_type,
	      fs.f_blocks);
	SYS(stat("huge", &st));
	CHECK((st.st_mode & 07777) == 01770 && st.st_uid == 7, "mode %o of %d", st.st_mode, st.st_uid);
	SYS(mkdir("bpf/directory", 0700));
	unmount("bpf");
	unmount("huge");

	pass();
}
