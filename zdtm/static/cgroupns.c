/*
 * title: A cgroup namespace that begins below the root, and a child below that.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 * needs: cgroupns
 */
#include "zdtm.h"

#include <sched.h>

#include "cgroup.h"
#include "child.h"

int main(int argc, char **argv)
{
	const char *name;
	uint32_t *words;
	pid_t kid;

	test_init(argc, argv);
	words = test_shared(8);
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/one/two/three");
	cg_enter("cg/one/two");
	SYS(unshare(CLONE_NEWCGROUP));
	cg_is_at(name, "/");
	kid = SYS(fork());
	if (!kid) {
		cg_enter("cg/one/two/three");
		cg_stay(name, "/three", words);
	}
	test_await(words, 1);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/");
	test_post(words + 1);
	test_reap(kid);
	pass();
}
