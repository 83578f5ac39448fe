/*
 * title: threads keep user and group ids of their own
 * flavours: host ns userns
 * flags: suid
 * cflags: -pthread
 */
#include "each.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

struct ids {
	uid_t ruid, euid, suid, fsuid;
	gid_t rgid, egid, sgid, fsgid;
	int groups;
	gid_t group[4];
	bool privileged;
};

static struct ids look(void)
{
	struct ids now;

	memset(&now, 0, sizeof(now));
	SYS(getresuid(&now.ruid, &now.euid, &now.suid));
	SYS(getresgid(&now.rgid, &now.egid, &now.sgid));
	now.fsuid = (uid_t)syscall(SYS_setfsuid, -1);
	now.fsgid = (gid_t)syscall(SYS_setfsgid, -1);
	now.groups = SYS(getgroups(4, now.group));
	now.privileged = !access("/proc/1/fd", R_OK);
	return now;
}

/* The system calls, not the library's functions: those change all threads. */
static void become(uid_t first)
{
	const gid_t groups[2] = {first + 7, first + 8};

	SYS(syscall(SYS_setgroups, 2, groups));
	SYS(syscall(SYS_setresgid, first + 3, first + 4, first + 5));
	syscall(SYS_setfsgid, first + 3);
	SYS(syscall(SYS_setresuid, first, first + 1, first + 2));
	syscall(SYS_setfsuid, first);
}

static void same(int number, struct ids now, struct ids was)
{
	CHECK(now.ruid == was.ruid && now.euid == was.euid && now.suid == was.suid && now.fsuid == was.fsuid,
	      "%d: uids are %u %u %u %u, were %u %u %u %u", number, now.ruid, now.euid, now.suid, now.fsuid,
	      was.ruid, was.euid, was.suid, was.fsuid);
	CHECK(now.rgid == was.rgid && now.egid == was.egid && now.sgid == was.sgid && now.fsgid == was.fsgid,
	      "%d: gids are %u %u %u %u, were %u %u %u %u", number, now.rgid, now.egid, now.sgid, now.fsgid,
	      was.rgid, was.egid, was.sgid, was.fsgid);
	CHECK(now.groups == was.groups && !memcmp(now.group, was.group, sizeof(now.group)),
	      "%d: the groups differ", number);
	CHECK(now.privileged == was.privileged, "%d: may do %s than before", number,
	      now.privileged ? "more" : "less");
}

static void body(int number)
{
	struct ids before;

	/* The last ones stay root. */
	if (number < 4)
		become((uid_t)(1000 * (number + 1)));
	before = look();
	CHECK(number >= 4 || (before.euid == before.ruid + 1 && before.fsuid == before.ruid),
	      "%d: the ids were not set", number);
	each_wait();
	same(number, look(), before);
}

int main(int argc, char **argv)
{
	struct ids before;

	test_init(argc, argv);
	each_start(6, body);
	become(9000);
	before = look();
	test_daemon();
	test_waitsig();
	same(-1, look(), before);
	each_end();
	pass();
}
