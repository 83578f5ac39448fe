/*
 * title: a file that another one was renamed over, open and mapped, with a name left elsewhere
 * flavours: host ns userns
 * opts: --link-remap
 */
#include <sys/mman.h>

#include "files.h"

enum { SIZE = 4096 };

int main(int argc, char **argv)
{
	int old, new, kept;
	unsigned char *map;

	test_init(argc, argv);
	old = file_make("file", SIZE, 1);
	map = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, old, 0));
	SYS(link("file", "kept"));
	new = file_make("other", SIZE, 2);
	SYS(rename("other", "file"));
	test_daemon();
	test_waitsig();
	kept = SYS(open("kept", O_RDONLY));
	CHECK(file_same(old, kept) && !file_same(old, new), "another file");
	CHECK(file_same(new, SYS(open("file", O_RDONLY))), "the name leads to another file");
	file_links(old, 1);
	file_links(new, 1);
	file_holds(old, SIZE, 1);
	file_holds(new, SIZE, 2);
	map[7] ^= 0xff;
	CHECK(pread(kept, &map[8], 1, 7) == 1 && map[7] == map[8], "the mapping is of another file");
	pass();
}
