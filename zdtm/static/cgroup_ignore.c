/*
 * title: Restored without its cgroups it is where the engine is.
 * flavours: host
 * flags: suid
 * restore: --manage-cgroups=ignore
 * ignore: cgroup
 */
#include "zdtm.h"

#include "cgroup.h"

int main(int argc, char **argv)
{
	char dir[96];

	test_init(argc, argv);
	cg_mount(NULL, "cg");
	snprintf(dir, sizeof(dir), "cg/%s", cg_name(""));
	cg_mkdir(dir);
	cg_enter(dir);
	cg_is_at("", strchr(dir, '/'));
	cg_umount("cg");

	test_daemon();
	test_waitsig();
	pass();
}
