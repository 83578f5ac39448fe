/*
 * title: files of an overlay: lower, upper, copied up since they were opened, mapped, deleted
 * flavours: ns userns
 * flags: suid
 */
#include <sys/mman.h>
#include <sys/mount.h>

#include "files.h"

enum { SIZE = 4096 };

static int lower(const char *name, uint32_t seed)
{
	char path[64];

	snprintf(path, sizeof(path), "lower/%s", name);
	SYS(close(file_make(path, SIZE, seed)));
	return 0;
}

int main(int argc, char **argv)
{
	int low, copied, up, gone, dir;
	char options[3 * PATH_MAX];
	unsigned char *map;

	test_init(argc, argv);
	SYS(mkdir("layers", 0755));
	SYS(mount("none", "layers", "tmpfs", 0, ""));
	SYS(chdir("layers"));
	SYS(mkdir("lower", 0755));
	SYS(mkdir("upper", 0755));
	SYS(mkdir("work", 0755));
	SYS(mkdir("merged", 0755));
	lower("low", 1);
	lower("copied", 2);
	lower("gone", 3);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s,userxattr",
		 test_path("layers/lower"), test_path("layers/upper"), test_path("layers/work"));
	if (mount("none", "merged", "overlay", 0, options) < 0)
		skip("this kernel has no overlays here: %m");
	low = SYS(open("merged/low", O_RDONLY));
	map = SYS(mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, low, 0));
	copied = SYS(open("merged/copied", O_RDONLY));
	SYS(chmod("merged/copied", 0640));
	up = file_make("merged/up", SIZE, 4);
	gone = SYS(open("merged/gone", O_RDWR));
	SYS(unlink("merged/gone"));
	dir = SYS(open("merged", O_RDONLY | O_DIRECTORY));
	SYS(chdir(test_path("")));
	test_daemon();
	test_waitsig();
	file_holds(low, SIZE, 1);
	CHECK(test_differs(map, SIZE, 1) < 0, "the mapping differs");
	file_holds(copied, SIZE, 2);
	file_holds(up, SIZE, 4);
	file_holds(gone, SIZE, 3);
	file_links(gone, 0);
	CHECK(faccessat(dir, "gone", F_OK, 0) < 0 && faccessat(dir, "up", F_OK, 0) == 0, "another directory");
	pass();
}
