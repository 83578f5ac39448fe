/*
 * title: mounts of all kinds of sharing, bound from each other, whose children came by propagation
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

enum { PRIVATE, SHARED, SLAVE, SLAVE_SHARED };

/* Each is a bind of an earlier one, of a directory of it, and then made to be of a kind, with flags of its
 * own. */
static const struct {
	const char *name, *from;
	int kind;
	unsigned long flags;
} binds[] = {
	{"b0", "top", SHARED, 0},
	{"b1", "top/dir", SLAVE, MS_NOSUID},
	{"b2", "b1", SLAVE_SHARED, MS_NODEV},
	{"b3", "b2", SLAVE_SHARED, MS_NOEXEC},
	{"b4", "b3", SHARED, MS_RDONLY},
	{"b5", "b0/dir", PRIVATE, MS_NOATIME},
	{"b6", "b5", SHARED, 0},
	{"b7", "b6/deep", SLAVE, MS_NOSUID | MS_NODEV},
	{"b8", "b2/deep", SLAVE_SHARED, 0},
	{"b9", "b8", SHARED, 0},
};
#define COUNT (sizeof(binds) / sizeof(*binds))

static const struct {
	const char *from, *to;
	bool does;
} paths[] = {
	{"top", "b0", true},	  {"b0/dir", "b1", true},	{"top/dir", "b2", true},
	{"top/dir", "b3", true},  {"b2", "b3", true},		{"b3", "b2", false},
	{"b3", "b4", true},	  {"b2", "top/dir", false},	{"top/dir", "b5", false},
	{"b6", "b5", false},	  {"b5", "b6", false},		{"b6/deep", "b7", true},
	{"b7", "b6/deep", false}, {"top/dir/deep", "b8", true}, {"b2/deep", "b9", true},
	{"b9", "b8", true},	  {"b8", "b2/deep", false},	{"b1", "top/dir", false},
};

static void make_kind(const char *dir, int kind)
{
	if (kind == PRIVATE)
		propagation(dir, MS_PRIVATE);
	if (kind == SLAVE || kind == SLAVE_SHARED)
		propagation(dir, MS_SLAVE);
	if (kind == SHARED || kind == SLAVE_SHARED)
		propagation(dir, MS_SHARED);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	new_tmpfs("top");
	propagation("top", MS_SHARED);
	SYS(mkdir("top/dir", 0755));
	SYS(mkdir("top/dir/deep", 0755));
	for (unsigned i = 0; i < COUNT; i++) {
		new_bind(binds[i].from, binds[i].name);
		make_kind(binds[i].name, binds[i].kind);
		if (!(binds[i].flags & MS_RDONLY))
			mount_flags(binds[i].name, binds[i].flags);
	}
	SYS(mkdir("b5/own", 0755));
	SYS(mount("own", "b5/own", "tmpfs", 0, NULL));
	new_tmpfs("top/dir/child");
	new_tmpfs("b8/child");
	for (unsigned i = 0; i < COUNT; i++)
		mount_flags(binds[i].name, binds[i].flags);
	test_daemon();
	test_waitsig();
	CHECK(is_mount_point("b2/child") && is_mount_point("b3/child") && !is_mount_point("b5/child"),
	      "the child is not where it had come to");
	CHECK(is_mount_point("b9/child") && !is_mount_point("top/dir/deep/child"),
	      "the slave's child is not there");
	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		check_propagates(paths[i].from, paths[i].to, paths[i].does);
	check_read_only("b4");
	pass();
}
