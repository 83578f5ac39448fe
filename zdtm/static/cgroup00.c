/*
 * title: A task in a cgroup, a child that inherited it, one in a cgroup below, and a grandchild back above.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 */
#include "zdtm.h"

#include "cgroup.h"
#include "child.h"

static const char *name;
static uint32_t *ready;

static void wait_at(const char *path)
{
	test_post(ready);
	test_await(ready + 1, 1);
	cg_is_at(name, path);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t kids[2];

	test_init(argc, argv);
	ready = test_shared(8);
	name = cg_named("", "cg");
	cg_mkdir("cg/one");
	cg_mkdir("cg/one/two");
	cg_mkdir("cg/one/two/three");
	cg_mkdir("cg/one/empty");
	cg_enter("cg/one/two");
	kids[0] = SYS(fork());
	if (!kids[0])
		wait_at("/one/two");
	kids[1] = SYS(fork());
	if (!kids[1]) {
		cg_enter("cg/one/two/three");
		pid_t kid = SYS(fork());
		if (!kid) {
			cg_enter("cg/one/two");
			wait_at("/one/two");
		}
		test_post(ready);
		test_await(ready + 1, 1);
		cg_is_at(name, "/one/two/three");
		test_reap(kid);
		_exit(0);
	}
	test_await(ready, 3);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at(name, "/one/two");
	test_post(ready + 1);
	test_reap(kids[0]);
	test_reap(kids[1]);
	pass();
}
