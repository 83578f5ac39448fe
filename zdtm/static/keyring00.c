/*
 * title: session and process keyrings can be used, and the session's is the user's own
 * flavours: host ns userns
 * cflags: -pthread
 */
#include "each.h"

#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>

enum { OWN_SESSION = 2 }; /* the number of those that join a session keyring of their own */

static long keyctl(int command, long a, long b, long c)
{
	return syscall(SYS_keyctl, command, a, b, c, 0);
}

/* What earlier tests of the same user have left is collected when the kernel finds time: until then it
 * counts. */
static long add(const char *name, const char *value, long ring)
{
	long key;

	for (int i = 0; i < 100; i++) {
		key = syscall(SYS_add_key, "user", name, value, strlen(value), ring);
		if (key >= 0 || errno != EDQUOT)
			return key;
		usleep(50000);
	}
	return key;
}

static void use(int number, long ring, const char *name)
{
	char value[16] = "", own[64];
	long key;

	/* the user's own session keyring is that of all others too */
	snprintf(own, sizeof(own), "%s %d", name, gettid());
	key = SYS(add(own, "value", ring));
	CHECK(SYS(keyctl(KEYCTL_READ, key, (long)value, sizeof(value))) == 5 && !strcmp(value, "value"),
	      "%d: %s is '%s'", number, name, value);
	CHECK(SYS(syscall(SYS_request_key, "user", own, NULL, 0)) == key, "%d: %s is not found", number,
	      name);
	SYS(keyctl(KEYCTL_UNLINK, key, ring, 0));
}

static void owner(int number, long ring)
{
	char text[256] = "";
	unsigned int uid, gid;

	SYS(keyctl(KEYCTL_DESCRIBE, ring, (long)text, sizeof(text) - 1));
	CHECK(sscanf(text, "keyring;%u;%u;", &uid, &gid) == 2, "%d: the session keyring is '%s'", number,
	      text);
	CHECK(uid == getuid(), "%d: the session keyring is user %u's: %s", number, uid, text);
}

static void body(int number)
{
	long session, key = 0, now;
	char value[16] = "";

	if (number < OWN_SESSION) {
		SYS(keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0));
		key = SYS(add("kept", "before", KEY_SPEC_SESSION_KEYRING));
		SYS(add("kept", "before", KEY_SPEC_PROCESS_KEYRING));
		SYS(add("kept", "before", KEY_SPEC_THREAD_KEYRING));
	}
	session = SYS(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1, 0));
	each_wait();
	now = SYS(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1, 0));
	owner(number, now);
	if (key && now == session)
		CHECK(SYS(keyctl(KEYCTL_READ, key, (long)value, sizeof(value))) == 6 &&
			      !strcmp(value, "before"),
		      "%d: the same session keyring has another key: '%s'", number, value);
	use(number, KEY_SPEC_SESSION_KEYRING, "of the session");
	use(number, KEY_SPEC_PROCESS_KEYRING, "of the process");
	use(number, KEY_SPEC_THREAD_KEYRING, "of the thread");
	CHECK(SYS(keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0)) != now, "%d: no new session", number);
	use(number, KEY_SPEC_SESSION_KEYRING, "of a new session");
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	if (keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1, 0) < 0)
		skip("keyctl: %s", strerror(errno));
	each_start(4, body);
	test_daemon();
	test_waitsig();
	each_end();
	pass();
}
