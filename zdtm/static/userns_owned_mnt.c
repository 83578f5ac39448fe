/*
 * title: mounts in a user namespace below the tree's stay locked or free, with the owners of file systems
 * flavours: ns userns
 * flags: suid
 */
#include "child.h"
#include "mount.h"
#include "userns.h"

static uint32_t *words;

static void refused(const char *what, int result, int error)
{
	CHECK(result < 0 && errno == error, "%s: %s", what, result < 0 ? strerror(errno) : "can be done");
}

static int remount(const char *dir, unsigned long flags, const char *data)
{
	return mount(NULL, dir, NULL, MS_REMOUNT | flags, data);
}

static void is_owner(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat st;

	SYS(stat(path, &st));
	CHECK(st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == mode, "%s: %d %d %o", path,
	      st.st_uid, st.st_gid, st.st_mode);
}

static void options(const char *point, const char *wanted)
{
	char *text = test_read_file("/proc/self/mountinfo", NULL), *line = strstr(text, test_path(point));

	CHECK(line, "%s is not mounted", point);
	line[strcspn(line, "\n")] = 0;
	CHECK(strstr(line, wanted), "%s: no %s", line, wanted);
	free(text);
}

static void make(void)
{
	const char *dirs[] = {"own", "twin", "frozen", "again", "tree", "pts", "all"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		SYS(mkdir(dirs[i], 0777));
	new_tmpfs("dir");
	SYS(mkdir("dir/sub", 0755));
	SYS(mount("sub", "dir/sub", "tmpfs", MS_NOSUID | MS_NODEV, NULL));
	write_file("dir/sub/file", "sub");
	propagation("dir", MS_SHARED);
	new_bind("dir", "ro");
	mount_flags("ro", MS_RDONLY);
	new_bind("dir/sub/", "over");
	bind_mount("dir", "over");
}

/* In the user namespace. */
static void mount_more(void)
{
	SYS(mount("own", "own", "tmpfs", 0, "size=64k,mode=0751,uid=2"));
	write_file("own/file", "own");
	SYS(chown("own/file", 3, 4));
	SYS(mkfifo("own/fifo", 0604));
	SYS(mknod("own/socket", S_IFSOCK | 0640, 0));
	SYS(chown("own/socket", 4, 5));
	bind_mount("own", "twin");
	bind_mount("own", "frozen");
	mount_flags("frozen", MS_RDONLY | MS_NOEXEC);
	bind_mount("ro", "again");
	SYS(mount("dir", "tree", NULL, MS_BIND | MS_REC, NULL));
	SYS(mkdir("tree/new", 0755));
	SYS(mount("new", "tree/new", "tmpfs", 0, NULL));
	write_file("tree/new/file", "new");
	SYS(mount("pts", "pts", "devpts", 0, "newinstance,mode=0620,ptmxmode=0666"));
	SYS(mkdir("own/deep", 0755));
	bind_mount("tree/sub", "own/deep");
}

static void look(void)
{
	const char *locked[] = {"dir", "dir/sub", "ro", "over", "tree/sub"};

	for (size_t i = 0; i < sizeof(locked) / sizeof(*locked); i++)
		refused(locked[i], umount2(test_path(locked[i]), MNT_DETACH), EINVAL);
	refused("ro is made writable", remount(test_path("ro"), MS_BIND, NULL), EPERM);
	refused("its bind is", remount(test_path("again"), MS_BIND, NULL), EPERM);
	refused("sub gets devices", remount(test_path("dir/sub"), MS_BIND | MS_NOSUID, NULL), EPERM);
	refused("times change", remount(test_path("dir"), MS_BIND | MS_NOATIME, NULL), EPERM);
	refused("their file system is changed", remount(test_path("dir"), 0, "size=1M"), EPERM);
	SYS(remount(test_path("own"), 0, "size=128k"));
	options("own", "size=128k");
	SYS(remount(test_path("own"), 0, "size=64k"));
	SYS(remount(test_path("frozen"), MS_BIND, NULL));
	SYS(remount(test_path("frozen"), MS_BIND | MS_RDONLY | MS_NOEXEC, NULL));
	check_read_only(test_path("frozen"));
	check_read_only(test_path("ro"));
	check_read_only(test_path("again"));
	is_owner(test_path("own"), 2, 0, 0751);
	is_owner(test_path("twin/file"), 3, 4, 0644);
	is_owner(test_path("twin/fifo"), 0, 0, 0604);
	is_owner(test_path("own/socket"), 4, 5, 0640);
	check_file(test_path("own/deep/file"), "sub");
	check_file(test_path("tree/new/file"), "new");
	check_same_place(test_path("own"), test_path("twin"), true);
	check_same_place(test_path("dir"), test_path("tree"), true);
}

static void below(void)
{
	char text[8] = {0};
	int fd;

	userns_enter(words, CLONE_NEWNS);
	mount_more();
	fd = SYS(open("twin/file", O_RDONLY));
	SYS(chdir("own"));
	look();
	child_wait();
	look();
	userns_owns(0, "mnt");
	CHECK(read(fd, text, sizeof(text)) == 3 && !strcmp(text, "own"), "read '%s'", text);
	SYS(close(fd));
	check_file("file", "own");
	SYS(chdir(test_path("")));
	test_post(words + 2);
	test_await(words + 3, 1);
	CHECK(is_mount_point("dir/late"), "it is no slave of the tree's mount");
	unmount("own/deep");
	unmount("tree/new");
	SYS(umount2("tree", MNT_DETACH));
	SYS(umount2("again", MNT_DETACH));
	unmount("frozen");
	unmount("pts");
	unmount("twin");
	unmount("own");
	refused("again", umount("ro"), EINVAL);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	words = test_shared(4 * sizeof(*words));
	child_words = test_shared(sizeof(*child_words));
	make();
	pid = SYS(fork());
	if (!pid)
		below();
	userns_map(pid, words, "0 1000 10\n", "0 2000 10\n");
	child_await();
	test_daemon();
	test_waitsig();
	userns_owns(pid, "mnt");
	child_go();
	test_await(words + 2, 1);
	SYS(mkdir("dir/late", 0755));
	SYS(mount("late", "dir/late", "tmpfs", 0, NULL));
	test_post(words + 3);
	test_reap(pid);
	pass();
}
