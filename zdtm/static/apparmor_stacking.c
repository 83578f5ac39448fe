/*
 * title: a child in an AppArmor policy namespace stays confined by a stack of profiles
 * flavours: host
 * flags: suid
 * needs: apparmor apparmor_stacking
 */
#include "lsm.h"

#include <sys/stat.h>

static const char space[] = "zdtm_stacking", name[] = "zdtm_stacked";
static const char directory[] = "/sys/kernel/security/apparmor/policy/namespaces/zdtm_stacking";

int main(int argc, char **argv)
{
	const char *was, *now;
	uint32_t *words;
	char file[64];
	pid_t child;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	if (mkdir(directory, 0755) && errno != EEXIST)
		fail("%s: %s", directory, strerror(errno));
	profile(name, space, true);
	child = SYS(fork());
	if (!child) {
		int error = set_label("/proc/self/attr/current", "stack :zdtm_stacking:zdtm_stacked");

		CHECK(!error, "stack: %s", strerror(error));
		test_post(&words[0]);
		test_await(&words[1], 1);
		_exit(0);
	}
	test_await(&words[0], 1);
	snprintf(file, sizeof(file), "/proc/%d/attr/current", child);
	was = label(file);
	CHECK(strstr(was, "//&") && strstr(was, space) && strstr(was, name),
	      "the label of the child is '%s' from the start", was);
	test_daemon();
	test_waitsig();
	now = label(file);
	CHECK(!strcmp(now, was), "the label of the child is '%s' instead of '%s'", now, was);
	CHECK(!strstr(label("/proc/self/attr/current"), name), "the test is confined, too");
	test_post(&words[1]);
	test_reap(child);
	profile(name, space, false);
	rmdir(directory);
	pass();
}
