/*
 * title: mount points and sources with blanks, tabs, newlines and backslashes in their names
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static const char *const names[] = {"two words", "tab\tbed",	  "new\nline", "back\\slash", "\\040",
				    "#",	 "comma,equals=", "\303\244",  "\377raw"};
#define COUNT (sizeof(names) / sizeof(*names))

int main(int argc, char **argv)
{
	test_init(argc, argv);
	char path[64];

	for (unsigned i = 0; i < COUNT; i++) {
		new_tmpfs(names[i]);
		snprintf(path, sizeof(path), "%s/%s", names[i], names[i]);
		SYS(mkdir(path, 0755));
		write_file(strcat(path, "/file"), names[i]);
		*strrchr(path, '/') = 0;
		bind_mount(path, path);
	}

	test_daemon();
	test_waitsig();
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "%s/%s/file", names[i], names[i]);
		check_file(path, names[i]);
		*strrchr(path, '/') = 0;
		unmount(path);
		unmount(names[i]);
	}

	pass();
}
