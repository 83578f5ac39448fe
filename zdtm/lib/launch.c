/*
 * Makes namespaces around a directory and starts its /init there as pid 1; prints that pid as seen outside.
 *
 *   launch ROOT UIDMAP GIDMAP BIND ARGUMENT…
 *
 * UIDMAP and GIDMAP are lines for /proc/PID/{uid,gid}_map, or "-": no user namespace. BIND is a directory in
 * ROOT that becomes a mount of its own, or "-".
 */
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(3, "%s", path);
	close(fd);
}

/* Maps are written from outside: more than one range takes CAP_SETUID over the parent namespace. */
static void enter_user_namespace(const char *uid_map, const char *gid_map)
{
	pid_t self = getpid(), writer;
	int entered[2], status;
	char byte;

	if (pipe2(entered, O_CLOEXEC) < 0)
		err(3, "pipe2");
	writer = fork();
	if (writer < 0)
		err(3, "fork");
	if (writer == 0) {
		close(entered[1]);
		if (read(entered[0], &byte, 1) != 1)
			_exit(3);
		put(self, "uid_map", uid_map);
		put(self, "gid_map", gid_map);
		_exit(0);
	}
	if (unshare(CLONE_NEWUSER) < 0)
		err(3, "unshare(CLONE_NEWUSER)");
	if (write(entered[1], "", 1) != 1)
		err(3, "write");
	close(entered[0]);
	close(entered[1]);
	if (waitpid(writer, &status, 0) != writer || status != 0)
		errx(3, "the maps were not written");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		err(3, "become root of the user namespace");
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		err(3, "lo");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		err(3, "lo up");
	close(fd);
}

static void enter_root(const char *root, const char *bound)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		err(3, "make / private");
	if (mount(root, root, NULL, MS_BIND, NULL) < 0)
		err(3, "bind %s", root);
	/* While the old /proc is still in sight: a user namespace may mount only what it could see before. */
	if (chdir(root) < 0 || mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		err(3, "mount /proc");
	if (strcmp(bound, "-") && mount(bound, bound, NULL, MS_BIND, NULL) < 0)
		err(3, "bind %s", bound);
	/* The old root ends up over the new one's "/", where it can be let go without a directory for it. */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		err(3, "pivot_root to %s", root);
	if (chdir("/") < 0)
		err(3, "/");
}

int main(int argc, char **argv)
{
	pid_t init;

	if (argc < 6)
		errx(3, "usage: launch ROOT UIDMAP GIDMAP BIND ARGUMENT...");
	if (strcmp(argv[2], "-"))
		enter_user_namespace(argv[2], argv[3]);
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		err(3, "unshare");
	init = fork();
	if (init < 0)
		err(3, "fork");
	if (init == 0) {
		umask(022);
		if (sethostname("zdtm", 4) < 0)
			err(3, "sethostname");
		loopback_up();
		enter_root(argv[1], argv[4]);
		argv[4] = "/init";
		execv("/init", argv + 4);
		err(3, "/init");
	}
	printf("%d\n", init);
	return 0;
}
