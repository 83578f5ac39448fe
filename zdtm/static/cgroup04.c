/*
 * title: Allowed devices and limits of memory, in a cgroup and one below it.
 * flavours: host
 * flags: suid
 * opts: --manage-cgroups=full
 */
#include "zdtm.h"

#include "cgroup.h"

static void has_line(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	CHECK(at && (at == text || at[-1] == '\n'), "'%s' is not in '%s'", line, text);
}

int main(int argc, char **argv)
{
	char devices[96], memory[96], below[128], *list;

	test_init(argc, argv);
	snprintf(devices, sizeof(devices), "devices/%s", cg_name(""));
	snprintf(memory, sizeof(memory), "memory/%s", cg_name(""));
	snprintf(below, sizeof(below), "%s/below", memory);
	cg_mount("devices", "devices");
	cg_mount("memory", "memory");
	cg_mkdir(devices);
	cg_mkdir(memory);
	cg_mkdir(below);
	cg_write("a", "%s/devices.deny", devices);
	cg_write("c 1:3 rwm", "%s/devices.allow", devices);
	cg_write("c 1:5 r", "%s/devices.allow", devices);
	cg_write("b *:* m", "%s/devices.allow", devices);
	cg_write("268435456", "%s/memory.limit_in_bytes", memory);
	cg_write("335544320", "%s/memory.memsw.limit_in_bytes", memory);
	cg_write("33", "%s/memory.swappiness", memory);
	cg_write("1", "%s/memory.oom_control", memory);
	cg_write("134217728", "%s/memory.soft_limit_in_bytes", memory);
	cg_write("134217728", "%s/memory.limit_in_bytes", below);
	cg_enter(devices);
	cg_enter(memory);
	cg_umount("devices");
	cg_umount("memory");

	test_daemon();
	test_waitsig();

	cg_is_at("devices", strchr(devices, '/'));
	cg_is_at("memory", strchr(memory, '/'));
	CHECK(open("/dev/full", O_RDONLY) == -1 && errno == EPERM,
	      "a device that is not allowed can be opened");
	CHECK(open("/dev/zero", O_RDWR) == -1 && errno == EPERM,
	      "a device can be written to, which is only to be read");
	SYS(open("/dev/zero", O_RDONLY));
	cg_mount("devices", "devices");
	cg_mount("memory", "memory");
	list = cg_read(devices, "devices.list");
	has_line(list, "c 1:3 rwm");
	has_line(list, "c 1:5 r");
	has_line(list, "b *:* m");
	CHECK(strlen(list) == strlen("c 1:3 rwm\nc 1:5 r\nb *:* m"), "more is allowed: '%s'", list);
	cg_says(memory, "memory.limit_in_bytes", "268435456");
	cg_says(memory, "memory.memsw.limit_in_bytes", "335544320");
	cg_says(memory, "memory.swappiness", "33");
	cg_says(memory, "memory.soft_limit_in_bytes", "134217728");
	CHECK(!strncmp(cg_read(memory, "memory.oom_control"), "oom_kill_disable 1", 18),
	      "the OOM killer is on");
	cg_says(below, "memory.limit_in_bytes", "134217728");
	CHECK(atol(cg_read(memory, "memory.usage_in_bytes")) > 0, "its memory is charged elsewhere");
	cg_umount("devices");
	cg_umount("memory");
	pass();
}
