/*
 * title: a container that a user has made inside of the tree, with a root and file systems of its own
 * flavours: ns userns
 * flags: suid
 */
#include <net/if.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "mount.h"
#include "pidns.h"
#include "userns.h"

#define KEY 0x2a

enum { INIT, SHELL, CHILD, TASKS };

static struct shared {
	uint32_t map[2], ready, checked;
	pid_t init;
} *shared;

/* What each task of the container sees. */
struct view {
	pid_t pid, ppid, sid, pgid;
	uid_t uid;
	char *mounts, *maps;
	char host[65];
	bool up;
};

static int compare(const void *one, const void *other)
{
	return strcmp(*(char *const *)one, *(char *const *)other);
}

/* All mounts, sorted, without the numbers that are new ones afterwards. */
static char *mount_table(void)
{
	char *text = test_read_file("/proc/self/mountinfo", NULL), *rest = text, *line;
	char *lines[32], *out = calloc(1, strlen(text) + 1);
	size_t count = 0;

	while ((line = strsep(&rest, "\n")) && *line) {
		for (int i = 0; i < 3; i++)
			line = strchr(line, ' ') + 1;
		CHECK(out && count < sizeof(lines) / sizeof(*lines), "too many mounts");
		lines[count++] = line;
	}
	qsort(lines, count, sizeof(*lines), compare);
	for (size_t i = 0; i < count; i++)
		strcat(strcat(out, lines[i]), "\n");
	free(text);
	return out;
}

static bool lo(bool up)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = SYS(socket(AF_INET, SOCK_DGRAM, 0));

	SYS(ioctl(fd, SIOCGIFFLAGS, &request));
	if (up) {
		request.ifr_flags |= IFF_UP;
		SYS(ioctl(fd, SIOCSIFFLAGS, &request));
	}
	SYS(close(fd));
	return request.ifr_flags & IFF_UP;
}

static void look(struct view *it)
{
	memset(it, 0, sizeof(*it));
	it->pid = getpid();
	it->ppid = getppid();
	it->sid = getsid(0);
	it->pgid = getpgid(0);
	it->uid = getuid();
	it->mounts = mount_table();
	it->maps = test_read_file("/proc/self/uid_map", NULL);
	SYS(gethostname(it->host, sizeof(it->host)));
	it->up = lo(false);
}

static void arrive(int who)
{
	const char *kinds[] = {"pid", "mnt", "uts", "ipc", "net", "cgroup"};
	struct view before, now;
	char path[64], link[16] = {0};
	int *memory;

	look(&before);
	test_post(&shared->ready);
	child_await_go();
	look(&now);
	CHECK(now.pid == before.pid && now.ppid == before.ppid && now.sid == before.sid &&
		      now.pgid == before.pgid && now.uid == before.uid,
	      "task %d: pid %d ppid %d sid %d pgid %d uid %d", who, now.pid, now.ppid, now.sid, now.pgid,
	      now.uid);
	CHECK(!strcmp(now.mounts, before.mounts), "task %d: mounts are\n%s, were\n%s", who, now.mounts,
	      before.mounts);
	CHECK(!strcmp(now.maps, before.maps), "task %d: ids are %s, were %s", who, now.maps, before.maps);
	CHECK(!strcmp(now.host, "inner") && now.up, "task %d: %s, lo %d", who, now.host, now.up);
	SYS(readlink("/proc/self", link, sizeof(link) - 1));
	CHECK(atoi(link) == now.pid, "task %d: /proc/self is %s", who, link);
	snprintf(path, sizeof(path), "/proc/%d/status", TASKS + 1);
	check_absent(path);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		userns_owns(0, kinds[i]);
	memory = shmat(SYS(shmget(KEY, 0, 0)), NULL, SHM_RDONLY);
	CHECK(memory != (void *)-1 && *memory == KEY, "the segment: %m");
	SYS(shmdt(memory));
	check_file("/tmp/file", "content");
	check_read_only("/host");
	test_post(&shared->checked);
}

/* In the user namespace, as the first process of the pid namespace. */
static void make_root(void)
{
	SYS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	SYS(chdir(test_path("")));
	SYS(mount("root", "root", "tmpfs", 0, "mode=755,size=1m"));
	SYS(chdir("root"));
	SYS(mkdir("proc", 0555));
	SYS(mkdir("old", 0755));
	SYS(mkdir("dev", 0755));
	SYS(mkdir("dev/pts", 0755));
	SYS(mkdir("dev/mqueue", 0755));
	SYS(mkdir("tmp", 01777));
	SYS(mkdir("host", 0755));
	SYS(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	bind_mount("proc/sys", "proc/sys");
	mount_flags("proc/sys", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
	SYS(mount("mask", "proc/fs", "tmpfs", MS_RDONLY, "size=0"));
	SYS(mount("tmp", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=1777"));
	SYS(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666"));
	SYS(mount("mqueue", "dev/mqueue", "mqueue", 0, NULL));
	bind_mount("../data", "host");
	mount_flags("host", MS_RDONLY);
	SYS(syscall(SYS_pivot_root, ".", "old"));
	SYS(chdir("/"));
	SYS(umount2("/old", MNT_DETACH));
	SYS(rmdir("/old"));
	write_file("/tmp/file", "content");
}

static void init(void)
{
	int *memory = SYS(shmat(SYS(shmget(KEY, 4096, IPC_CREAT | 0666)), NULL, 0)), status;
	pid_t shell, child, more;

	*memory = KEY;
	SYS(shmdt(memory));
	SYS(setsid());
	SYS(sethostname("inner", 5));
	lo(true);
	make_root();
	shell = SYS(fork());
	if (!shell) {
		SYS(setsid());
		child = SYS(fork());
		if (!child) {
			SYS(setpgid(0, 0));
			SYS(setresgid(4, 4, 4));
			SYS(setresuid(3, 3, 3));
			arrive(CHILD);
			_exit(0);
		}
		arrive(SHELL);
		test_reap(child);
		_exit(0);
	}
	arrive(INIT);
	test_await(&shared->checked, TASKS);
	CHECK(open("/proc/sys/kernel/ns_last_pid", O_WRONLY) < 0 && errno == EROFS, "/proc/sys: %m");
	unmount("/proc/fs");
	SYS(mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=2m"));
	SYS(mkdir("/more", 0755));
	SYS(mount("proc", "/more", "proc", 0, NULL));
	more = SYS(fork());
	if (!more)
		_exit(access("/more/self/stat", F_OK) || getpid() == 1);
	SYS(waitpid(more, &status, 0));
	CHECK(!status, "a new process ended with %#x", status);
	test_reap(shell);
	_exit(0);
}

/* The runtime stays outside of the pid namespace alone. */
static void runtime(void)
{
	pid_t pid;

	userns_enter(shared->map, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
					  CLONE_NEWCGROUP);
	SYS(chdir("/")); /* which pivot_root(2) changes, as its root */
	pid = SYS(fork());
	if (!pid)
		init();
	shared->init = pid;
	test_reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct pidns_names names;
	pid_t pid;

	test_init(argc, argv);
	shared = test_shared(sizeof(*shared));
	child_words = test_shared(sizeof(*child_words));
	SYS(mkdir("root", 0755));
	SYS(mkdir("data", 0777));
	pid = SYS(fork());
	if (!pid)
		runtime();
	userns_map(pid, shared->map, "0 1000 10\n", "0 2000 10\n");
	test_await(&shared->ready, TASKS);
	pidns_look(shared->init, &names);

	test_daemon();
	test_waitsig();

	pidns_same(shared->init, &names);
	child_go();
	test_reap(pid);
	pass();
}
