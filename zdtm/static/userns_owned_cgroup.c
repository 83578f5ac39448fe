/*
 * title: A cgroup namespace that belongs to a user namespace below the tree's, and a child in one below that.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 * needs: cgroupns
 */
#include "zdtm.h"

#include "cgroup.h"
#include "userns.h"

static uint32_t *words; /* two for each map; how many are there, whether they are to go on */
enum { READY = 4, GO, WORDS };

static const char *name;

static void below(void)
{
	userns_enter(words + 2, CLONE_NEWCGROUP);
	cg_is_at(name, "/");
	test_post(words + READY);
	test_await(words + GO, 1);
	cg_is_at(name, "/");
	userns_owns(0, "cgroup");
	_exit(0);
}

static void first(void)
{
	pid_t pid;

	cg_enter("cg/one/two");
	userns_enter(words, CLONE_NEWCGROUP);
	pid = SYS(fork());
	if (!pid)
		below();
	userns_map(pid, words + 2, "0 0 5\n", "0 0 5\n");
	cg_is_at(name, "/three");
	test_post(words + READY);
	test_await(words + GO, 1);
	cg_is_at(name, "/three");
	userns_owns(0, "cgroup");
	test_reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	char number[16];
	pid_t pid;

	test_init(argc, argv);
	words = test_shared(WORDS * sizeof(*words));
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/one/two/three");
	pid = SYS(fork());
	if (!pid)
		first();
	test_await(words, 1);
	snprintf(number, sizeof(number), "%d", pid);
	cg_write(number, "cg/one/two/three/cgroup.procs");
	userns_map(pid, words, "0 1000 10\n", "0 1000 10\n");
	test_await(words + READY, 2);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	test_post(words + GO);
	test_reap(pid);
	pass();
}
