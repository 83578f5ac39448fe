/* For tests of files that are open in two mount namespaces: a tmpfs in dir/, and a child that has its own
 * mounts. */
#ifndef MNTNS_H
#define MNTNS_H

#include <sched.h>
#include <sys/mount.h>

#include "child.h"
#include "files.h"

static inline void mntns_make(void)
{
	SYS(mkdir("dir", 0755));
	SYS(mount("none", "dir", "tmpfs", 0, ""));
	SYS(mkdir("bound", 0755));
}

/* In the child: its own mounts, with dir/ bound to bound/. */
static inline void mntns_bind(unsigned long flags)
{
	SYS(unshare(CLONE_NEWNS));
	SYS(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	SYS(mount("dir", "bound", NULL, MS_BIND, NULL));
	if (flags)
		SYS(mount(NULL, "bound", NULL, MS_REMOUNT | MS_BIND | flags, NULL));
}

static inline int mntns_id(int fd)
{
	return (int)file_info(fd, "mnt_id:\t", 10);
}

#endif
