/*
 * title: a Landlock domain that a privileged parent made for its child is seen in the unprivileged child
 * flavours: host ns userns
 * flags: suid crfail
 */
#include "child.h"
#include "landlock.h"

/* Neither capabilities nor no_new_privs tell that this one could have restricted itself. */
static _Noreturn void child(void)
{
	struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_FIFO};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);

	if (fd < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
		skip("this kernel has no Landlock");
	SYS(fd);
	SYS(syscall(SYS_landlock_restrict_self, fd, 0));
	SYS(close(fd));
	SYS(setresgid(7001, 7001, 7001));
	SYS(setresuid(7002, 7002, 7002));
	child_wait();
	landlock_check("child", true);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	pid = child_fork();
	if (!pid)
		child();
	child_await();
	test_daemon();
	test_waitsig();
	landlock_check("parent", false);
	child_go();
	test_reap(pid);
	pass();
}
