/*
 * title: memory that root locked stays locked for the user that it became, who may not lock any
 * flavours: host ns
 * flags: suid
 */
#include "memory.h"

#include <sys/resource.h>

enum { PAGES = 16 };

int main(int argc, char **argv)
{
	const struct rlimit none = {0, 0};
	unsigned char *memory;

	test_init(argc, argv);
	memory = map_anonymous(PAGES * PAGE, MAP_PRIVATE);
	SYS(mlock(memory, PAGES * PAGE));
	SYS(setrlimit(RLIMIT_MEMLOCK, &none));
	SYS(setresgid(18943, 18943, 18943));
	SYS(setresuid(18943, 18943, 18943));
	CHECK(mlock(memory, 1) == -1, "the user may lock");
	CHECK(has_flag(memory, "lo"), "the memory is not locked");
	test_daemon();
	test_waitsig();
	CHECK(has_flag(memory, "lo"), "the memory is not locked any more");
	CHECK(smaps_kib(memory, PAGES * PAGE, "Locked") == (long)(PAGES * PAGE / 1024), "not all of it is");
	CHECK(mlock(memory, 1) == -1, "the user may lock now");
	SYS(munlock(memory, PAGES * PAGE));
	pass();
}
