/*
 * title: a file of a tmpfs that only a child's namespace has, open and mapped
 * flavours: ns userns
 * flags: suid
 */
#include "mount.h"
#include <sys/mman.h>

static int fd;
static char *mapped;

static void make(void)
{
	new_tmpfs("t");
	write_file("t/file", "mapped");
	fd = SYS(open("t/file", O_RDWR | O_CLOEXEC));
	mapped = SYS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	mapped[0] = 'M';
}

static void check(void)
{
	CHECK(!strcmp(mapped, "Mapped"), "mapped is '%s'", mapped);
	SYS(close(fd));
	check_file("t/file", "mapped");
	SYS(munmap(mapped, 4096));
	unmount("t");
}

int main(int argc, char **argv)
{
	struct mount_child child;

	test_init(argc, argv);
	child = mount_child(make, check);

	test_daemon();
	test_waitsig();
	CHECK(!is_mount_point("t"), "the test has the child's mount");
	mount_child_checks(&child);

	pass();
}
