/*
 * title: pidfds of processes that have ended tell how (PIDFD_GET_INFO): status and signal
 * flavours: host ns userns
 */
#include "pidfd.h"

/* linux/pidfd.h of Linux 6.13 to 6.15 */
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define GET_INFO  _IOWR(0xff, 11, struct info)
#define INFO_EXIT (1ULL << 3)

static void check(int fd, int want)
{
	struct info info = {.mask = INFO_EXIT};

	SYS(ioctl(fd, GET_INFO, &info));
	CHECK(info.mask & INFO_EXIT && info.exit_code == want, "it is said to have ended with %#x, not %#x",
	      info.exit_code, want);
}

int main(int argc, char **argv)
{
	struct info info = {.mask = INFO_EXIT};
	const int how[] = {0, 7 << 8, SIGUSR1, SIGKILL, SIGPIPE};
	int fds[5], i;

	test_init(argc, argv);
	for (i = 0; i < 5; i++) {
		pid_t pid = SYS(fork());

		if (!pid && how[i] & 0x7f)
			SYS(kill(getpid(), how[i]));
		if (!pid)
			_exit(how[i] >> 8);
		fds[i] = pidfd_of(pid, 0);
		SYS(waitpid(pid, NULL, 0));
	}
	if (ioctl(fds[0], GET_INFO, &info) || !(info.mask & INFO_EXIT))
		skip("this kernel does not tell");
	test_daemon();
	test_waitsig();
	for (i = 0; i < 5; i++)
		check(fds[i], how[i]);
	pass();
}
