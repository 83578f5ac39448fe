/*
 * title: The priority that net_prio gives to packets of each interface.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups=full
 */
#include "zdtm.h"

#include <net/if.h>

#include "cgroup.h"

/* Those that no other test makes and removes. */
static const char *const links[] = {"lo", "eth0"};

static bool line_of(int i, char *line, size_t size)
{
	snprintf(line, size, "%s %d", links[i], 3 + i);
	return if_nametoindex(links[i]) != 0;
}

int main(int argc, char **argv)
{
	char dir[96], line[64], *map;

	test_init(argc, argv);
	cg_mount("net_prio", "cg");
	snprintf(dir, sizeof(dir), "cg/%s", cg_name(""));
	cg_mkdir(dir);
	for (int i = 0; i < 2; i++)
		if (line_of(i, line, sizeof(line)))
			cg_write(line, "%s/net_prio.ifpriomap", dir);
	cg_enter(dir);
	cg_umount("cg");

	test_daemon();
	test_waitsig();

	cg_is_at("net_prio", strchr(dir, '/'));
	cg_mount("net_prio", "cg");
	map = cg_read(dir, "net_prio.ifpriomap");
	for (int i = 0; i < 2; i++)
		if (line_of(i, line, sizeof(line)))
			CHECK(strstr(map, line), "'%s' is not in '%s'", line, map);
	cg_umount("cg");
	pass();
}
