/* Mounting: none of it is in Python's os. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mount.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

static int answer(long r)
{
	return r < 0 ? -errno : r;
}

int zd_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	return answer(syscall(SYS_mount, source, target, type, flags, data));
}

int zd_umount(const char *target, int flags)
{
	return answer(syscall(SYS_umount2, target, flags));
}

int zd_pivot_root(const char *new_root, const char *put_old)
{
	return answer(syscall(SYS_pivot_root, new_root, put_old));
}

int zd_open_tree(int dir, const char *name, unsigned flags)
{
	return answer(syscall(SYS_open_tree, dir, name, flags));
}

int zd_move_mount(int from, int to, unsigned flags)
{
	return answer(syscall(SYS_move_mount, from, "", to, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | flags));
}

int zd_fsopen(const char *type)
{
	return answer(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int zd_fspick(int mount)
{
	return answer(syscall(SYS_fspick, mount, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
}

int zd_fsconfig(int fs, unsigned command, const char *key, const char *value)
{
	return answer(syscall(SYS_fsconfig, fs, command, key, value, 0));
}

int zd_fsmount(int fs, unsigned attributes)
{
	return answer(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}

int zd_mount_setattr(int mount, unsigned flags, unsigned long long set, unsigned long long clear,
		     unsigned long long propagation)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};

	return answer(syscall(SYS_mount_setattr, mount, "", flags, &attr, sizeof(attr)));
}
