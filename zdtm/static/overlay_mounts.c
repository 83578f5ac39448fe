/*
 * title: overlays over a layer of theirs and over each other, with mounts in them and binds of them
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"

static void overlay(const char *lower, const char *upper, const char *work, const char *on)
{
	char options[4096];

	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s,userxattr", test_path(lower),
		 test_path(upper), test_path(work));
	if (mount(on, on, "overlay", 0, options) < 0)
		skip("this kernel has no overlays here: %m");
}

static void make(void)
{
	propagation("/", MS_PRIVATE | MS_REC);
	unmount("two");
	write_file("over/child", "seen by both");
}

static void check(void)
{
	check_absent("two/low");
	check_file("over/late", "of the first task");
	unmount("over/inside");
	unmount("over");
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"layers", "layers/u1", "layers/w1", "layers/u2", "layers/w2"};
	struct mount_child child;

	test_init(argc, argv);
	new_tmpfs("layers");
	for (int i = 1; i < 5; i++)
		SYS(mkdir(names[i], 0755));
	SYS(mkdir("over", 0755));
	SYS(mkdir("two", 0755));
	write_file("over/low", "low");
	write_file("over/changed", "low");
	write_file("over/gone", "low");
	SYS(mkdir("over/inside", 0755));
	/* What is below it can be seen no more. */
	overlay("over", "layers/u1", "layers/w1", "over");
	write_file("over/changed", "upper");
	SYS(unlink("over/gone"));
	SYS(mount("inside", "over/inside", "tmpfs", 0, NULL));
	write_file("over/inside/file", "inside");
	SYS(mkdir("over/part", 0755));
	new_bind("over/part", "bind");
	mount_flags("bind", MS_RDONLY);
	/* The first one is a layer of the second. */
	overlay("over", "layers/u2", "layers/w2", "two");
	write_file("two/low", "upper of the second");
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	write_file("over/late", "of the first task");
	check_file("over/child", "seen by both");
	mount_child_checks(&child);
	check_file("two/low", "upper of the second");
	check_file("two/changed", "upper");
	unmount("two");
	check_file("over/low", "low");
	check_file("over/changed", "upper");
	check_absent("over/gone");
	check_file("over/inside/file", "inside");
	check_read_only("bind");
	check_same_place("over/inside", "over", false);
	unmount("over/inside");
	unmount("bind");
	unmount("over");
	check_file("over/changed", "low");
	check_file("over/gone", "low");
	check_absent("over/child");

	pass();
}
