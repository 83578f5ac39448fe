/*
 * title: a mount with an SELinux context gets another one that was asked for at restore
 * flavours: ns userns
 * flags: suid
 * needs: selinux
 * restore: --lsm-mount-context=system_u:object_r:container_file_t:s0:c204,c495
 */
#include "zdtm.h"

#include <sys/mount.h>
#include <sys/stat.h>

static const char before[] = "system_u:object_r:container_file_t:s0:c82,c137";
static const char after[] = "system_u:object_r:container_file_t:s0:c204,c495";

/* Does the line of /proc/self/mountinfo for that directory have this context? */
static bool has_context(const char *directory, const char *context)
{
	char *line = strstr(test_read_file("/proc/self/mountinfo", NULL), directory);

	CHECK(line, "%s is not mounted", directory);
	line[strcspn(line, "\n")] = 0;
	return strstr(line, context);
}

int main(int argc, char **argv)
{
	const char *options = "context=\"system_u:object_r:container_file_t:s0:c82,c137\"";
	const char *directory;

	test_init(argc, argv);
	directory = test_path("mounted");
	SYS(mkdir(directory, 0755));
	SYS(mount("none", directory, "tmpfs", 0, options));
	CHECK(has_context(directory, before), "the context is another one from the start");
	test_daemon();
	test_waitsig();
	CHECK(has_context(directory, after), "the context is not the one that was asked for");
	CHECK(!has_context(directory, before), "the context from before is there, too");
	pass();
}
