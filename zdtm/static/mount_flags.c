/*
 * title: every mount keeps its own flags
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static const unsigned long flags[] = {
	MS_NOSUID | MS_RELATIME,
	MS_NODEV | MS_NOATIME,
	MS_NOEXEC | MS_STRICTATIME,
	MS_RDONLY | MS_NODIRATIME | MS_RELATIME,
	MS_NOSYMFOLLOW | MS_NOATIME | MS_NODIRATIME,
	MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
};
#define COUNT (sizeof(flags) / sizeof(*flags))

int main(int argc, char **argv)
{
	test_init(argc, argv);
	struct statfs before[COUNT], now;
	char path[16];

	new_tmpfs("t");
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "m%u", i);
		new_bind("t", path);
		mount_flags(path, flags[i]);
		SYS(statfs(path, before + i));
	}

	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "m%u", i);
		SYS(statfs(path, &now));
		CHECK(now.f_flags == before[i].f_flags, "%s has the flags %#lx instead of %#lx", path,
		      (long)now.f_flags, (long)before[i].f_flags);
	}

	pass();
}
