/*
 * title: a sealed mapping keeps its contents and its seal
 * flavours: host ns userns
 */
#include "memory.h"

#include <sys/syscall.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

enum { PAGES = 4 };

int main(int argc, char **argv)
{
	unsigned char *memory;

	test_init(argc, argv);
	memory = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mprotect(memory, PAGES * PAGE, RW));
	pages_fill(memory, PAGES, 1);
	SYS(mprotect(memory, PAGES * PAGE, PROT_READ));
	if (syscall(SYS_mseal, memory, PAGES * PAGE, 0))
		skip("this kernel has no mseal");
	test_daemon();
	test_waitsig();
	pages_check(memory, PAGES, 1, "what is sealed");
	CHECK(mprotect(memory, PAGE, RW) == -1 && errno == EPERM, "it can be made writable");
	CHECK(munmap(memory, PAGE) == -1 && errno == EPERM, "it can be unmapped");
	CHECK(mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map_nothing(PAGE)) == MAP_FAILED &&
		      errno == EPERM,
	      "it can be moved");
	pass();
}
