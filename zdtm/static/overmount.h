/* For tests of files that a mount has been put over. */
#ifndef OVERMOUNT_H
#define OVERMOUNT_H

#include <sys/mount.h>

#include "files.h"

/* Opens dir/NAME, which is there, and has a mount cover it. */
static inline int overmount(const char *name, int flags)
{
	int fd = SYS(open(name, flags));

	SYS(mount("none", "dir", "tmpfs", 0, ""));
	file_absent(name);
	return fd;
}

/* It is still covered, and the one that its name leads to when it is not. */
static inline void overmounted(const char *name, int fd, mode_t type)
{
	int same;

	CHECK((file_stat(fd).st_mode & S_IFMT) == type, "mode %o", file_stat(fd).st_mode);
	file_links(fd, 1);
	file_absent(name);
	SYS(umount("dir"));
	same = SYS(open(name, O_PATH));
	CHECK(file_same(fd, same), "it is another one than %s", name);
	SYS(close(same));
}

#endif
