/*
 * title: what is locked when it is touched is not all there, and what is not touched does not come in
 * flavours: host ns userns
 */
#include "memory.h"

enum { PAGES = 32 };

int main(int argc, char **argv)
{
	unsigned char *on_fault, *whole;

	test_init(argc, argv);
	on_fault = map_nothing((PAGES + 2) * PAGE) + PAGE;
	whole = map_nothing((PAGES + 2) * PAGE) + PAGE;
	SYS(mprotect(on_fault, PAGES * PAGE, RW));
	SYS(mprotect(whole, PAGES * PAGE, RW));
	SYS(madvise(on_fault, PAGES * PAGE, MADV_NOHUGEPAGE));
	if (mlock2(on_fault, PAGES * PAGE, MLOCK_ONFAULT))
		skip("mlock2: %m");
	SYS(mlock(whole, PAGES * PAGE));
	pages_fill(on_fault + 3 * PAGE, 2, 1);
	test_daemon();
	test_waitsig();
	CHECK(pages_there(on_fault, PAGES) == 2, "%zu pages are there instead of 2",
	      pages_there(on_fault, PAGES));
	CHECK(smaps_kib(on_fault, PAGES * PAGE, "Locked") == 2 * (long)PAGE / 1024, "%ld KiB are locked",
	      smaps_kib(on_fault, PAGES * PAGE, "Locked"));
	CHECK(has_flag(on_fault, "lo") && has_flag(whole, "lo"), "not locked any more");
	CHECK(pages_there(whole, PAGES) == PAGES, "what was locked as a whole is not there as a whole");
	pages_check(on_fault + 3 * PAGE, 2, 1, "what was touched");
	on_fault[10 * PAGE] = 1;
	CHECK(smaps_kib(on_fault, PAGES * PAGE, "Locked") == 3 * (long)PAGE / 1024,
	      "what is touched is not locked");
	pass();
}
