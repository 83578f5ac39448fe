/*
 * title: registered handlers of binfmt_misc, by magic and by extension, one of them switched off
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

#include <sys/random.h>

enum { HANDLERS = 4 };

static char names[HANDLERS][32];
static char *texts[HANDLERS];
static unsigned tag;

static const char *path(const char *name)
{
	static char result[160];

	snprintf(result, sizeof(result), "bm/%s", name);
	return result;
}

/* Without a user namespace they are the machine's, so no other run may have the same names. */
static void handler(int number, const char *type, const char *rest)
{
	char line[512];

	snprintf(names[number], sizeof(names[number]), "zdtm-%08x-%d", tag, number);
	snprintf(line, sizeof(line), "%c%s%c%s", rest[0], names[number], rest[0], type);
	write_file("bm/register", strcat(line, rest));
}

int main(int argc, char **argv)
{
	test_init(argc, argv);

	SYS(mkdir("bm", 0755));
	if (mount("binfmts", "bm", "binfmt_misc", 0, NULL) < 0)
		skip("this kernel has no binfmt_misc here: %m");
	SYS(getrandom(&tag, sizeof(tag), 0));
	handler(0, "M", ":3:\\x00zdtm\\x0a\\xff:\\xff\\xff\\xff\\xff\\xf0\\xff\\x7f:/scratch/one:P");
	handler(1, "M", "|0|zdtm-without-mask||/scratch/t:wo|OC");
	handler(2, "E", ":0:zdtm::/scratch/three:");
	write_file("exists", "#!/bin/sh\n");
	SYS(chmod("exists", 0755));
	handler(3, "E", ":0:zdtm-open::/scratch/exists:F");
	write_file(path(names[1]), "0");
	for (int i = 0; i < HANDLERS; i++)
		texts[i] = test_read_file(path(names[i]), NULL);
	CHECK(strstr(texts[1], "disabled"), "it is not disabled: %s", texts[1]);

	test_daemon();
	test_waitsig();
	for (int i = 0; i < HANDLERS; i++)
		check_file(path(names[i]), texts[i]);
	check_file("bm/status", "enabled\n");
	for (int i = 0; i < HANDLERS; i++)
		write_file(path(names[i]), "-1");
	unmount("bm");

	pass();
}
