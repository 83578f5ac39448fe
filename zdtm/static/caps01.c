/*
 * title: ambient capabilities are each process's own
 * flavours: host ns userns
 * flags: suid
 */
#include "zdtm.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CAPS = CAP_LAST_CAP + 1 };

struct sets {
	uint64_t inheritable, permitted, effective, ambient;
};

static struct sets look(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	struct sets now = {.ambient = 0};

	SYS(syscall(SYS_capget, &header, data));
	now.inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	now.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	now.effective = data[0].effective | (uint64_t)data[1].effective << 32;
	for (int cap = 0; cap < CAPS; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
			now.ambient |= 1ull << cap;
	return now;
}

static void become(uint64_t inheritable, uint64_t ambient)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	SYS(syscall(SYS_capget, &header, data));
	data[0].inheritable = (uint32_t)inheritable;
	data[1].inheritable = (uint32_t)(inheritable >> 32);
	SYS(syscall(SYS_capset, &header, data));
	for (int cap = 0; cap < CAPS; cap++)
		if (ambient >> cap & 1)
			SYS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
}

static void check(const char *who, struct sets now, struct sets was)
{
	for (int cap = 0; cap < CAPS; cap++)
		CHECK((now.ambient >> cap & 1) == (was.ambient >> cap & 1), "%s: ambient capability %d is %s",
		      who, cap, now.ambient >> cap & 1 ? "there" : "lost");
	CHECK(now.inheritable == was.inheritable, "%s: inheritable %#lx instead of %#lx", who,
	      now.inheritable, was.inheritable);
	CHECK(now.permitted == was.permitted && now.effective == was.effective,
	      "%s: %#lx %#lx instead of %#lx %#lx", who, now.permitted, now.effective, was.permitted,
	      was.effective);
}

int main(int argc, char **argv)
{
	const uint64_t some = 1 << CAP_CHOWN | 1 << CAP_KILL | 1 << CAP_NET_RAW | 1ull << CAP_SYSLOG |
			      1ull << CAP_AUDIT_READ;
	struct sets before;
	uint32_t *words;
	pid_t child;

	test_init(argc, argv);
	words = test_shared(2 * sizeof(*words));
	child = SYS(fork());
	if (!child) {
		become(some | 1 << CAP_FOWNER, some);
		before = look();
		CHECK(before.ambient == some, "the ambient set is %#lx", before.ambient);
		test_post(&words[0]);
		test_await(&words[1], 1);
		check("the child", look(), before);
		_exit(0);
	}
	become(1 << CAP_SETUID, 0);
	before = look();
	test_await(&words[0], 1);
	test_daemon();
	test_waitsig();
	check("the test", look(), before);
	test_post(&words[1]);
	test_reap(child);
	pass();
}
