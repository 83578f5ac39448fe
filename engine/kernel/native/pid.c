/* pidfd_open(2) and its relatives. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

int zd_pidfd_open(int pid, unsigned flags)
{
	int r = syscall(SYS_pidfd_open, pid, flags);

	return r < 0 ? -errno : r;
}
