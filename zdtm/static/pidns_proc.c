/*
 * title: a procfs of a pid namespace below the tree's shows that one, wherever it is bound, and what is on it
 * flavours: ns userns
 * flags: suid
 */
#include <sys/wait.h>

#include "mount.h"
#include "pidns.h"

#define OPTIONS "hidepid=invisible"

static int directory, version, bound;

static const char *path_of(const char *proc)
{
	return *proc == '/' ? proc : test_path(proc);
}

static void shows(const char *proc, pid_t pid, const char *parent)
{
	char path[256], *text;

	snprintf(path, sizeof(path), "%s/%d/status", path_of(proc), pid);
	text = test_read_file(path, NULL);
	snprintf(path, sizeof(path), "\nPid:\t%d\nPPid:\t%s\n", pid, parent);
	CHECK(strstr(text, path), "%s shows of %d: %s", proc, pid, text);
	free(text);
}

static void is_self(const char *proc, pid_t pid)
{
	char path[256], link[32];
	ssize_t size;

	snprintf(path, sizeof(path), "%s/self", path_of(proc));
	size = SYS(readlink(path, link, sizeof(link) - 1));
	link[size] = 0;
	CHECK(atoi(link) == pid, "%s/self is %s, not %d", proc, link, pid);
}

static void look(pid_t kid)
{
	char text[8] = {0};
	struct stat st;

	is_self("inner", 1);
	is_self("again", 1);
	shows("inner", 1, "0");
	shows("again", kid, "1");
	check_file("inner/fs/over", "it");
	check_file("sys/kernel/hostname", "inside\n");
	CHECK(fstatat(directory, "1/fd", &st, 0) == 0, "the directory does not lead to the processes: %m");
	CHECK(read(version, text, 3) == 3 && lseek(version, 0, SEEK_CUR) == 5, "offset %ld",
	      (long)lseek(version, 0, SEEK_CUR));
	SYS(lseek(version, 2, SEEK_SET));
	CHECK(faccessat(bound, "kernel/pid_max", F_OK, 0) == 0, "what is bound is something else");
}

static void first(void)
{
	pid_t kid, more;
	int status;

	SYS(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	SYS(unshare(CLONE_NEWUTS));
	SYS(sethostname("inside", 6));
	SYS(mkdir("inner", 0755));
	SYS(mkdir("again", 0755));
	SYS(mkdir("sys", 0755));
	SYS(mount("inner", "inner", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, OPTIONS));
	propagation("inner", MS_SHARED);
	bind_mount("inner", "again");
	bind_mount("inner/sys", "sys");
	SYS(mount("over", "inner/fs", "tmpfs", 0, "size=64k"));
	write_file("inner/fs/over", "it");
	mount_flags("sys", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
	directory = SYS(open("inner", O_RDONLY | O_DIRECTORY));
	version = SYS(open("again/version", O_RDONLY));
	bound = SYS(open("sys", O_PATH | O_DIRECTORY));
	SYS(lseek(version, 2, SEEK_SET));
	kid = SYS(fork());
	if (!kid) {
		is_self("inner", getpid());
		child_wait();
		is_self("inner", getpid());
		_exit(0);
	}
	look(kid);
	child_wait();
	look(kid);
	more = SYS(fork());
	if (!more) {
		shows("inner", getpid(), "1");
		is_self("again", getpid());
		_exit(0);
	}
	test_reap(more);
	CHECK(is_mount_point("again/fs"), "what was mounted in a peer is not in the other");
	CHECK(open("sys/kernel/ns_last_pid", O_WRONLY) < 0 && errno == EROFS, "sys can be written to: %m");
	unmount("inner/fs");
	CHECK(!is_mount_point("again/fs"), "they are no peers");
	test_reap(kid);
	CHECK(waitpid(-1, &status, 0) < 0, "a child more");
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	child_words = test_shared(sizeof(*child_words));
	pid = pidns_fork(CLONE_NEWPID | CLONE_NEWNS);
	if (!pid)
		first();
	test_await(&child_words->ready, 2);
	is_self("/proc", getpid());
	test_daemon();
	test_waitsig();
	is_self("/proc", getpid());
	child_go();
	test_reap(pid);
	pass();
}
