/*
 * title: debugfs from outside in a user namespace, and the tracefs that mounted itself there
 * flavours: userns
 * flags: suid
 * opts: --ext-mount-map auto --enable-external-masters
 * needs: mnt_id
 */
#include "mount.h"

#include <linux/magic.h>

int main(int argc, char **argv)
{
	struct statfs fs;

	test_init(argc, argv);
	SYS(mkdir("debug", 0755));
	test_outside();

	test_daemon();
	test_waitsig();
	SYS(statfs("debug", &fs));
	CHECK(fs.f_type == DEBUGFS_MAGIC, "another file system: %#lx", fs.f_type);
	CHECK(access("debug/tracing/README", F_OK) < 0 && errno == EACCES, "its names can be seen");

	pass();
}
