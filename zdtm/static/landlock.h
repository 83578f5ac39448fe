/* For tests of Landlock: a domain in which no FIFO can be made, and nothing else is forbidden. */
#ifndef ZDTM_LANDLOCK_H
#define ZDTM_LANDLOCK_H

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

static inline void landlock_restrict(void)
{
	struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_FIFO};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);

	if (fd < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
		skip("this kernel has no Landlock");
	SYS(fd);
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SYS(syscall(SYS_landlock_restrict_self, fd, 0));
	SYS(close(fd));
}

static inline void landlock_check(const char *who, bool restricted)
{
	const char *path = test_path(who);
	int result = mkfifo(path, 0600);

	CHECK(restricted ? result < 0 && errno == EACCES : !result, "%s: mkfifo: %d, %s", who, result,
	      strerror(errno));
	if (!result)
		SYS(unlink(path));
}

#endif
