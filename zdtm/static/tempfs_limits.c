/*
 * title: tmpfs: the limits of size and inodes hold, and what the root of it is like
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	struct stat st;
	struct statfs fs, now;

	SYS(mkdir("t", 0700));
	SYS(mount("t", "t", "tmpfs", 0, "size=256k,nr_inodes=16,mode=1750,uid=7,gid=9"));
	SYS(chmod("t", 0511));
	SYS(statfs("t", &fs));

	test_daemon();
	test_waitsig();
	SYS(statfs("t", &now));
	CHECK(now.f_blocks == fs.f_blocks && now.f_files == fs.f_files,
	      "%lu blocks and %lu inodes instead of %lu and %lu", now.f_blocks, now.f_files, fs.f_blocks,
	      fs.f_files);
	CHECK(now.f_ffree == fs.f_ffree, "%lu inodes are free instead of %lu", now.f_ffree, fs.f_ffree);
	SYS(stat("t", &st));
	CHECK((st.st_mode & 07777) == 0511 && st.st_uid == 7 && st.st_gid == 9, "the root is %o of %u:%u",
	      st.st_mode, st.st_uid, st.st_gid);

	pass();
}
