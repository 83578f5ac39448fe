/*
 * title: secure bits, locked ones too, are each thread's own and do what they did
 * flavours: host ns userns
 * flags: suid
 * cflags: -pthread
 */
#include "each.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const int settings[] = {
	0,
	SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED,
	SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE,
	SECBIT_KEEP_CAPS,
	SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
	0,
};

static bool has(bool effective)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	SYS(syscall(SYS_capget, &header, data));
	return (effective ? data[0].effective : data[0].permitted) & 1 << CAP_KILL;
}

static void body(int number)
{
	int wanted = settings[number], now;
	bool fixed, kept;

	SYS(prctl(PR_SET_SECUREBITS, wanted, 0, 0, 0));
	each_wait();
	now = SYS(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	CHECK(now == wanted, "%d: %#x instead of %#x", number, now, wanted);
	CHECK(has(true), "%d: a capability is lost", number);
	if (wanted & SECBIT_NO_SETUID_FIXUP_LOCKED)
		CHECK(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) && errno == EPERM, "%d: the lock is open", number);
	SYS(syscall(SYS_setresuid, 1000, 1000, 1000));
	fixed = !(wanted & SECBIT_NO_SETUID_FIXUP);
	kept = wanted & (SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
	CHECK(has(true) == !fixed && has(false) == kept, "%d: another uid has another effect on capabilities",
	      number);
}

int main(int argc, char **argv)
{
	test_init(argc, argv);
	each_start(sizeof(settings) / sizeof(*settings), body);
	test_daemon();
	test_waitsig();
	CHECK(!SYS(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)), "the test itself has bits now");
	each_end();
	pass();
}
