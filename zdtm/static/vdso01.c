/*
 * title: pointers to all functions of the vdso, kept from before, call what answers as the kernel does
 * flavours: host ns userns
 */
#include "vdso.h"

int main(int argc, char **argv)
{
	int64_t before;

	test_init(argc, argv);
	vdso_init();
	vdso_check();
	before = vdso_kernel(CLOCK_REALTIME);
	test_daemon();
	test_waitsig();
	CHECK(vdso_kernel(CLOCK_REALTIME) > before, "the time of day has gone back");
	vdso_check();
	pass();
}
