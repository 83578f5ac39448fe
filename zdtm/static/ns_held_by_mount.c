/*
 * title: namespaces that only bind mounts of nsfs keep stay, as `ip netns` has them
 * flavours: ns userns
 * flags: suid
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "userns.h"

#define NAME "mounted"

static ino_t inode(const char *path)
{
	struct stat st;

	SYS(stat(path, &st));
	return st.st_ino;
}

static void keep(const char *path, const char *what)
{
	SYS(close(SYS(open(path, O_WRONLY | O_CREAT | O_EXCL, 0444))));
	SYS(mount(what, path, NULL, MS_BIND, NULL));
}

int main(int argc, char **argv)
{
	const char *uts, *net, *same, *user, *cgroup;
	int fd, maps[2]; /* who makes the user namespace tells by a pipe */
	char *map;
	char name[65];
	pid_t child;

	test_init(argc, argv);
	uts = test_path("uts");
	net = test_path("net");
	same = test_path("same");
	user = test_path("user");
	cgroup = test_path("cgroup");
	child = SYS(fork());
	if (!child) {
		SYS(unshare(CLONE_NEWUTS | CLONE_NEWNET));
		SYS(sethostname(NAME, strlen(NAME)));
		keep(uts, "/proc/self/ns/uts");
		keep(net, "/proc/self/ns/net");
		SYS(unshare(CLONE_NEWCGROUP));
		keep(cgroup, "/proc/self/ns/cgroup");
		_exit(0);
	}
	test_reap(child);
	SYS(pipe(maps));
	child = SYS(fork());
	if (!child) {
		SYS(unshare(CLONE_NEWUSER));
		SYS(write(maps[1], "", 1));
		SYS(close(maps[1]));
		pause();
	}
	SYS(read(maps[0], name, 1));
	userns_write(child, "uid_map", "3 1000 5\n");
	userns_write(child, "gid_map", "4 2000 6\n");
	snprintf(name, sizeof(name), "/proc/%d/ns/user", child);
	keep(user, name);
	SYS(kill(child, SIGKILL));
	SYS(waitpid(child, NULL, 0));
	SYS(close(maps[0]));
	SYS(close(maps[1]));
	keep(same, net);
	test_daemon();
	test_waitsig();
	CHECK(inode(net) == inode(same), "two network namespaces have become of one");
	CHECK(inode(net) != inode("/proc/self/ns/net"), "it is the one of all");
	fd = SYS(open(uts, O_RDONLY));
	SYS(setns(fd, CLONE_NEWUTS));
	SYS(close(fd));
	SYS(gethostname(name, sizeof(name)));
	CHECK(!strcmp(name, NAME), "the name is %s", name);
	CHECK(inode(cgroup) != inode("/proc/self/ns/cgroup"), "the cgroup namespace is the one of all");
	SYS(umount(same));
	SYS(umount(net));
	SYS(umount(uts));
	CHECK(inode(uts) != inode("/proc/self/ns/uts"), "something is mounted below");
	fd = SYS(open(user, O_RDONLY));
	SYS(setns(fd, CLONE_NEWUSER));
	SYS(close(fd));
	map = test_read_file("/proc/self/uid_map", NULL);
	CHECK(strstr(map, " 3 ") && strstr(map, " 5\n"), "the map is %s", map);
	pass();
}
