/* Who is told of a file's input and output: F_SETOWN_EX, F_SETSIG, O_ASYNC. */
#ifndef OWNERS_H
#define OWNERS_H

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "zdtm.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static inline void owners_set(int fd, int type, pid_t pid, int sig)
{
	struct f_owner_ex owner = {type, pid};

	SYS(fcntl(fd, F_SETOWN_EX, &owner));
	SYS(fcntl(fd, F_SETSIG, sig));
}

static inline void owners_expect(int fd, int type, pid_t pid, int sig)
{
	struct f_owner_ex owner;

	SYS(fcntl(fd, F_GETOWN_EX, &owner));
	CHECK((int)owner.type == type && owner.pid == pid,
	      "fd %d: owner %d of type %d instead of %d of type %d", fd, owner.pid, owner.type, pid, type);
	CHECK(fcntl(fd, F_GETSIG) == sig, "fd %d: signal %d instead of %d", fd, fcntl(fd, F_GETSIG), sig);
}

static inline void owners_expect_uids(int fd, uid_t uid, uid_t euid)
{
	uid_t ids[2];

	SYS(fcntl(fd, F_GETOWNER_UIDS, ids));
	CHECK(ids[0] == uid && ids[1] == euid, "fd %d: set under ids %u, %u instead of %u, %u", fd, ids[0],
	      ids[1], uid, euid);
}

#endif
