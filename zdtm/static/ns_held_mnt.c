/*
 * title: mount namespaces that only a descriptor keeps stay, with their mounts and files
 * flavours: ns userns
 * flags: suid
 */
#include <sys/mount.h>

#include "child.h"
#include "nsfile.h"

#define TEXT "on a mount that nobody sees"

static int ready(const char *dir, const char *name)
{
	int fd;

	SYS(unshare(CLONE_NEWNS));
	SYS(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	SYS(mount("none", dir, "tmpfs", 0, "size=64k"));
	fd = SYS(open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
	CHECK(write(fd, TEXT, strlen(TEXT)) == (ssize_t)strlen(TEXT), "write: %m");
	SYS(close(fd));
	child_wait();
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *dir, *name;
	char text[64] = "", path[64];
	struct stat one, other;
	int held, file;
	pid_t pid;

	test_init(argc, argv);
	dir = test_path("dir");
	name = test_path("dir/file");
	SYS(mkdir(dir, 0755));
	pid = child_fork();
	if (!pid)
		ready(dir, name);
	child_await();
	held = nsfile_open(pid, "mnt");
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	file = SYS(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	file = SYS(openat(file, name + 1, O_RDONLY | O_CLOEXEC));
	child_go();
	test_reap(pid);
	SYS(close(file - 1));
	SYS(lseek(file, 3, SEEK_SET));
	test_daemon();
	test_waitsig();
	CHECK(nsfile_inode(held) != nsfile_own("mnt"), "it is the test's");
	CHECK(access(name, F_OK) && errno == ENOENT, "%s is here", name);
	CHECK(read(file, text, sizeof(text)) == (ssize_t)strlen(TEXT) - 3, "the file has less: %m");
	CHECK(!strcmp(text, TEXT + 3), "the file says %s", text);
	SYS(setns(held, CLONE_NEWNS));
	SYS(stat(name, &one));
	SYS(fstat(file, &other));
	CHECK(one.st_ino == other.st_ino && one.st_dev == other.st_dev, "the file is another");
	CHECK((one.st_mode & 07777) == 0640, "its mode is %o", one.st_mode);
	pass();
}
