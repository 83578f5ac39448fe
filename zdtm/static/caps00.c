/*
 * title: every set of capabilities and the secure bits stay
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sets {
	struct __user_cap_data_struct data[2];
	uint64_t bounding, ambient;
	int securebits, keepcaps, no_new_privs;
};

static void getcaps(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

	SYS(syscall(SYS_capget, &header, data));
}

static struct sets look(void)
{
	struct sets now;

	memset(&now, 0, sizeof(now));
	getcaps(now.data);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		now.bounding |= (uint64_t)(prctl(PR_CAPBSET_READ, cap) == 1) << cap;
		now.ambient |= (uint64_t)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
			       << cap;
	}
	now.securebits = SYS(prctl(PR_GET_SECUREBITS));
	now.keepcaps = SYS(prctl(PR_GET_KEEPCAPS));
	now.no_new_privs = SYS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	return now;
}

static void set(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	SYS(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT));
	SYS(prctl(PR_CAPBSET_DROP, CAP_BPF));
	SYS(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS | SECBIT_KEEP_CAPS_LOCKED));
	getcaps(data);
	data[0].permitted &= ~(1U << CAP_SYS_MODULE);
	data[0].effective = data[0].permitted & ~(1U << CAP_MKNOD | 1U << CAP_SETPCAP);
	data[1].effective = data[1].permitted & ~(1U << (CAP_SYSLOG - 32));
	data[0].inheritable = 1U << CAP_CHOWN | 1U << CAP_NET_RAW;
	data[1].inheritable = 1U << (CAP_AUDIT_READ - 32);
	SYS(syscall(SYS_capset, &header, data));
	SYS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
	SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int main(int argc, char **argv)
{
	struct sets before, after;
	int i;

	test_init(argc, argv);
	set();
	before = look();
	CHECK(before.ambient == 1U << CAP_CHOWN, "ambient is %lx from the start", before.ambient);
	CHECK(!(before.bounding & 1U << CAP_SYS_BOOT), "the bounding set is %lx", before.bounding);
	test_daemon();
	test_waitsig();
	after = look();
	for (i = 0; i < 2; i++)
		CHECK(!memcmp(&after.data[i], &before.data[i], sizeof(after.data[i])),
		      "word %d: effective %x permitted %x inheritable %x, were %x %x %x", i,
		      after.data[i].effective, after.data[i].permitted, after.data[i].inheritable,
		      before.data[i].effective, before.data[i].permitted, before.data[i].inheritable);
	CHECK(after.bounding == before.bounding, "bounding %lx, was %lx", after.bounding, before.bounding);
	CHECK(after.ambient == before.ambient, "ambient %lx, was %lx", after.ambient, before.ambient);
	CHECK(after.securebits == before.securebits, "secure bits %x, were %x", after.securebits,
	      before.securebits);
	CHECK(after.keepcaps == before.keepcaps, "keep-caps is %d", after.keepcaps);
	CHECK(after.no_new_privs == before.no_new_privs, "no_new_privs is %d", after.no_new_privs);
	pass();
}
