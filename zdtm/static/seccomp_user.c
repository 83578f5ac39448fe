/*
 * title: an unprivileged task with no_new_privs keeps its filter, and may add another one
 * flavours: host ns userns
 * needs: seccomp_filters
 */
#include "filter.h"

int main(int argc, char **argv)
{
	test_init(argc, argv);
	CHECK(filter_try(SYS_getppid, FILTER_ERRNO(ENOTTY), 0) == -1 && errno == EACCES,
	      "a filter without no_new_privs: this is to be unprivileged");
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	filter_add(SYS_getppid, FILTER_ERRNO(ENOTTY), 0);
	test_daemon();
	test_waitsig();
	filter_expect_mode(SECCOMP_MODE_FILTER, 1);
	filter_expect(SYS_getppid, ENOTTY);
	filter_expect(SYS_getuid, 0);
	CHECK(SYS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) == 1, "no_new_privs is lost");
	filter_add(SYS_getuid, FILTER_ERRNO(ENOSPC), 0);
	filter_expect(SYS_getuid, ENOSPC);
	pass();
}
