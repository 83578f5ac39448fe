/*
 * title: Properties of other controllers: pids, cpu, cpuset, blkio, and a cpuset below.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups
 */
#include "zdtm.h"

#include "cgroup.h"

static const char *const controllers[] = {"pids", "cpu", "cpuset", "blkio"};
#define COUNT (sizeof(controllers) / sizeof(controllers[0]))
static char dirs[COUNT][96], below[128];

static const struct {
	int controller;
	const char *file, *value;
} props[] = {
	{0, "pids.max", "77"},
	{1, "cpu.shares", "512"},
	{1, "cpu.cfs_period_us", "50000"},
	{1, "cpu.cfs_quota_us", "45000"},
	{1, "cpu.cfs_burst_us", "20000"},
	{2, "cpuset.cpus", "0"},
	{2, "cpuset.mems", "0"},
	{2, "cpuset.memory_spread_page", "1"},
	{2, "cpuset.sched_load_balance", "0"},
};

int main(int argc, char **argv)
{
	test_init(argc, argv);
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/%s", controllers[i], cg_name(""));
		cg_mount(controllers[i], controllers[i]);
		cg_mkdir(dirs[i]);
	}
	for (size_t i = 0; i < sizeof(props) / sizeof(props[0]); i++)
		cg_write(props[i].value, "%s/%s", dirs[props[i].controller], props[i].file);
	snprintf(below, sizeof(below), "%s/below", dirs[2]);
	cg_mkdir(below);
	cg_write("0", "%s/cpuset.cpus", below);
	for (size_t i = 0; i < COUNT; i++) {
		cg_enter(dirs[i]);
		cg_umount(controllers[i]);
	}

	test_daemon();
	test_waitsig();

	for (size_t i = 0; i < COUNT; i++) {
		cg_is_at(controllers[i], strchr(dirs[i], '/'));
		cg_mount(controllers[i], controllers[i]);
	}
	for (size_t i = 0; i < sizeof(props) / sizeof(props[0]); i++)
		cg_says(dirs[props[i].controller], props[i].file, props[i].value);
	cg_says(below, "cpuset.cpus", "0");
	cg_says(below, "cpuset.mems", "");
	for (size_t i = 0; i < COUNT; i++)
		cg_umount(controllers[i]);
	pass();
}
