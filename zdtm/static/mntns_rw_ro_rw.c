/*
 * title: a part of a read-only part of /proc can be written to
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"
#include <sys/statvfs.h>

static void check_flags(const char *path, unsigned long flags)
{
	struct statvfs st;

	SYS(statvfs(path, &st));
	CHECK((st.f_flag & ST_RDONLY) == flags, "%s has the flags %#lx", path, st.f_flag);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	bind_mount("/proc/sys/net", "/proc/sys/net");
	bind_mount("/proc/sys", "/proc/sys");
	mount_flags("/proc/sys", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME);
	bind_mount("/proc/sys/net", "/proc/sys/net");
	mount_flags("/proc/sys/net", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME);

	test_daemon();
	test_waitsig();
	check_flags("/proc/sys", ST_RDONLY);
	check_flags("/proc/sys/kernel", ST_RDONLY);
	check_flags("/proc/sys/net", 0);
	SYS(close(SYS(open("/proc/sys/net/ipv4/ip_forward", O_WRONLY))));
	unmount("/proc/sys/net");
	check_flags("/proc/sys/net", ST_RDONLY);
	unmount("/proc/sys");
	unmount("/proc/sys/net");

	pass();
}
