/*
 * title: user namespaces that only descriptors keep stay, with maps, makers, parents and what belongs to them
 * flavours: host ns userns
 * flags: suid
 */
#include <stdlib.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "child.h"
#include "nsfile.h"
#include "userns.h"

/* upper: of a user of its own, with two ranges of ids; lower: in that; uts: belongs to the upper one */
enum { UPPER, LOWER, UTS, HELD };

static uint32_t *step;
static pid_t *lower;

static void below(void)
{
	pid_t kid;

	SYS(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)); /* some kernels let nobody else make any */
	SYS(setresgid(7, 7, 7));
	SYS(setresuid(6, 6, 6));
	SYS(unshare(CLONE_NEWUSER));
	test_post(step);
	test_await(step, 2);
	SYS(unshare(CLONE_NEWUTS));
	SYS(sethostname("upper", 5));
	kid = SYS(fork());
	if (!kid) {
		SYS(setresgid(1, 1, 1));
		SYS(setresuid(2, 2, 2));
		SYS(unshare(CLONE_NEWUSER));
		SYS(prctl(PR_SET_DUMPABLE, 1));
		test_post(step);
		test_await(step, 5);
		_exit(0);
	}
	test_await(step, 3);
	userns_write(kid, "uid_map", "3 2 1\n");
	userns_write(kid, "gid_map", "4 1 2\n");
	*lower = kid;
	test_post(step);
	test_await(step, 5);
	test_reap(kid);
	_exit(0);
}

/* The maps as the test sees them, by a child that enters. */
static char *maps(const int *held, int which)
{
	char path[64], *uids, *gids, *out;
	pid_t pid;

	*step = 0;
	pid = SYS(fork());
	if (!pid) {
		for (int i = 0; i <= which; i++)
			SYS(setns(held[i], CLONE_NEWUSER));
		test_post(step);
		test_await(step, 2);
		_exit(0);
	}
	test_await(step, 1);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	uids = test_read_file(path, NULL);
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	gids = test_read_file(path, NULL);
	SYS(asprintf(&out, "%s%s", uids, gids));
	test_post(step);
	test_reap(pid);
	return out;
}

int main(int argc, char **argv)
{
	char *before[UTS], name[65];
	uid_t makers[UTS], maker;
	int held[HELD], again;
	pid_t pid;

	test_init(argc, argv);
	step = test_shared(sizeof(*step));
	lower = test_shared(sizeof(*lower));
	pid = SYS(fork());
	if (!pid)
		below();
	test_await(step, 1);
	userns_write(pid, "uid_map", "0 1000 5\n10 2000 3\n");
	userns_write(pid, "setgroups", "deny");
	userns_write(pid, "gid_map", "0 3000 6\n");
	test_post(step);
	test_await(step, 4);
	held[UPPER] = nsfile_open(pid, "user");
	held[LOWER] = nsfile_open(*lower, "user");
	held[UTS] = nsfile_open(pid, "uts");
	again = SYS(dup(nsfile_open(pid, "user")));
	test_post(step);
	test_reap(pid);
	for (int i = 0; i < UTS; i++) {
		before[i] = maps(held, i);
		SYS(ioctl(held[i], NSFILE_OWNER_UID, &makers[i]));
	}
	test_daemon();
	test_waitsig();
	for (int i = 0; i < UTS; i++) {
		char *now = maps(held, i);

		CHECK(!strcmp(now, before[i]), "%d: maps\n%s, were\n%s", i, now, before[i]);
		SYS(ioctl(held[i], NSFILE_OWNER_UID, &maker));
		CHECK(maker == makers[i], "%d: made by %d, not %d", i, maker, makers[i]);
	}
	CHECK(nsfile_inode(held[UPPER]) == nsfile_inode(again), "the upper one has become two");
	CHECK(nsfile_above(held[UPPER], NSFILE_PARENT) == nsfile_own("user"), "the upper one is elsewhere");
	CHECK(nsfile_above(held[LOWER], NSFILE_PARENT) == nsfile_inode(held[UPPER]),
	      "the lower one is elsewhere");
	CHECK(nsfile_above(held[UTS], NSFILE_USERNS) == nsfile_inode(held[UPPER]),
	      "the name is somebody else's");
	SYS(setns(held[UTS], CLONE_NEWUTS));
	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, "upper"), "the name is %s", name);
	pass();
}
