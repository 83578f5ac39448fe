/*
 * title: pids, session, group and every kind of user and group id stay
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ids {
	pid_t pid, tid, sid, pgid;
	uid_t ruid, euid, suid, fsuid;
	gid_t rgid, egid, sgid, fsgid;
	gid_t groups[3];
};

static struct ids look(void)
{
	struct ids now;

	memset(&now, 0, sizeof(now));
	now.pid = getpid();
	now.tid = (pid_t)syscall(SYS_gettid);
	now.sid = SYS(getsid(0));
	now.pgid = SYS(getpgid(0));
	SYS(getresuid(&now.ruid, &now.euid, &now.suid));
	SYS(getresgid(&now.rgid, &now.egid, &now.sgid));
	now.fsuid = (uid_t)setfsuid(-1);
	now.fsgid = (gid_t)setfsgid(-1);
	CHECK(SYS(getgroups(3, now.groups)) == 3, "the number of groups differs");
	return now;
}

int main(int argc, char **argv)
{
	const gid_t groups[3] = {7001, 7003, 20005};
	struct ids before, after;

	test_init(argc, argv);
	SYS(setgroups(3, groups));
	SYS(setresgid(6001, 6002, 16003));
	setfsgid(6003);
	/* The file system uid follows the effective one, and may then be any of the others. */
	SYS(setresuid(5001, 5002, 15003));
	setfsuid(5001);
	before = look();
	CHECK(before.sid == before.pid && before.pgid == before.pid, "the test leads no session");
	CHECK(before.euid == 5002 && before.suid == 15003 && before.fsuid == 5001, "user ids are wrong");
	CHECK(before.egid == 6002 && before.sgid == 16003, "group ids are wrong");
	test_daemon();
	test_waitsig();
	after = look();
	CHECK(after.pid == before.pid && after.tid == before.tid, "pid %d tid %d, was %d", after.pid,
	      after.tid, before.pid);
	CHECK(after.sid == before.sid && after.pgid == before.pgid, "session %d and group %d, were %d",
	      after.sid, after.pgid, before.sid);
	CHECK(after.ruid == before.ruid && after.euid == before.euid && after.suid == before.suid,
	      "uids are %d %d %d", after.ruid, after.euid, after.suid);
	CHECK(after.rgid == before.rgid && after.egid == before.egid && after.sgid == before.sgid,
	      "gids are %d %d %d", after.rgid, after.egid, after.sgid);
	CHECK(after.fsuid == before.fsuid && after.fsgid == before.fsgid,
	      "file system ids are %d %d, were %d %d", after.fsuid, after.fsgid, before.fsuid, before.fsgid);
	CHECK(!memcmp(after.groups, before.groups, sizeof(groups)), "the groups differ");
	pass();
}
