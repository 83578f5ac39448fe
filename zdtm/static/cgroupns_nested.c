/*
 * title: A cgroup namespace, and a child in another one that begins further below.
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
	pid_t kids[2];

	test_init(argc, argv);
	words = test_shared(8);
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/one/two/three");
	cg_mkdir("cg/one/two/three/four");
	cg_enter("cg/one/two");
	SYS(unshare(CLONE_NEWCGROUP));
	cg_is_at(name, "/");
	for (int i = 0; i < 2; i++) {
		kids[i] = SYS(fork());
		if (kids[i])
			continue;
		cg_enter("cg/one/two/three");
		if (i == 1) {
			SYS(unshare(CLONE_NEWCGROUP));
			cg_enter("cg/one/two/three/four");
		}
		cg_stay(name, i ? "/four" : "/three", words);
	}
	test_await(words, 2);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/");
	test_post(words + 1);
	test_reap(kids[0]);
	test_reap(kids[1]);
	pass();
}
