/*
 * title: a task stays confined by its AppArmor profile
 * flavours: host ns
 * flags: suid
 * needs: apparmor
 */
#include "lsm.h"

static const char name[] = "zdtm_apparmor";

int main(int argc, char **argv)
{
	const char *file = "/proc/self/attr/current", *was, *now;
	int error;

	test_init(argc, argv);
	profile(name, NULL, true);
	error = set_label(file, "changeprofile zdtm_apparmor");
	CHECK(!error, "changeprofile: %s", strerror(error));
	was = label(file);
	CHECK(!strncmp(was, name, strlen(name)), "the label is '%s' from the start", was);
	test_daemon();
	test_waitsig();
	now = label(file);
	CHECK(!strcmp(now, was), "the label is '%s' instead of '%s'", now, was);
	/* Nobody who runs under it is stopped: the profile allows everything, and goes with the test. */
	profile(name, NULL, false);
	pass();
}
