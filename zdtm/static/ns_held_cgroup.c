/*
 * title: a cgroup namespace that only a descriptor keeps stays, and begins where it did
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 * needs: cgroupns
 */
#include "zdtm.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "cgroup.h"
#include "child.h"
#include "nsfile.h"

/* Where a process is, as the test's cgroup namespace shows it. */
static void is_at(pid_t pid, const char *hierarchy, const char *path)
{
	char name[64], line[128], *text;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	text = test_read_file(name, NULL);
	snprintf(line, sizeof(line), ":%s:%s\n", hierarchy, path);
	CHECK(strstr(text, line), "no '%s' in\n%s", line, text);
	free(text);
}

int main(int argc, char **argv)
{
	const char *name;
	pid_t maker, kid;
	int held, second;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/one/other");
	cg_mkdir("cg/one/two/three");
	maker = SYS(fork());
	if (!maker) {
		cg_enter("cg/one/two");
		SYS(unshare(CLONE_NEWCGROUP));
		child_wait();
		SYS(unshare(CLONE_NEWCGROUP));
		test_post(&child_words->ready);
		test_await(&child_words->go, 2);
		_exit(0);
	}
	child_await();
	held = nsfile_open(maker, "cgroup");
	child_go();
	test_await(&child_words->ready, 2);
	second = nsfile_open(maker, "cgroup");
	child_go();
	test_reap(maker);
	memset(child_words, 0, sizeof(*child_words));
	kid = SYS(fork());
	if (!kid) {
		cg_enter("cg/one/two/three");
		child_wait();
		_exit(0);
	}
	child_await();
	cg_enter("cg/one/other");
	cg_umount("cg");
	test_daemon();
	test_waitsig();
	CHECK(nsfile_inode(held) != nsfile_own("cgroup"), "it is the test's");
	CHECK(nsfile_inode(held) != nsfile_inode(second), "two that begin at one place have become one");
	SYS(setns(second, CLONE_NEWCGROUP));
	is_at(kid, name, "/three");
	SYS(setns(held, CLONE_NEWCGROUP));
	is_at(kid, name, "/three");
	is_at(getpid(), name, "/../other");
	child_go();
	test_reap(kid);
	pass();
}
