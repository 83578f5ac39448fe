/*
 * title: an environment variable keeps its value
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <stdlib.h>

static const char name[] = "ZDTM_ENV00", value[] = "set before the dump";

int main(int argc, char **argv)
{
	const char *now;

	test_init(argc, argv);
	SYS(setenv(name, value, 1));
	test_daemon();
	test_waitsig();
	now = getenv(name);
	CHECK(now && !strcmp(now, value), "%s is %s instead of '%s'", name, now ? now : "unset", value);
	pass();
}
