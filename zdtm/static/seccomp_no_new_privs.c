/*
 * title: no_new_privs stays
 * flavours: host ns userns
 */
#include "filter.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	CHECK(SYS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) == 0, "no_new_privs is set from the start");
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	test_daemon();
	test_waitsig();
	CHECK(SYS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) == 1, "no_new_privs is lost");
	filter_expect_mode(SECCOMP_MODE_DISABLED, 0);
	pass();
}
