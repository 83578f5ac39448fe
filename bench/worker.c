/*
 * The benchmark's processes. worker FILE random MIB | zero MIB | fragments MIB | relatives MIB | tree TASKS |
 * threads COUNT | fds COUNT | container TASKS
 *
 * The first task spins on the clock and keeps the largest gap that it has seen in FILE (struct seen), until
 * it is killed; writing 0 there starts anew. Before that it fills MIB mebibytes (with zeroes; every second
 * page of 5,000 mappings; those of a child that changes a twentieth of the pages), or has TASKS tasks made in
 * all (itself, children and grandchildren), or COUNT threads more, or COUNT files open: half of them are
 * regular ones beside FILE, the others ends of pipes with something in them. Those sleep in futex(2) until
 * `asked` grows; each then looks at what it has in private memory, as does the one that spins, and counts
 * itself in `answers`, or in `wrong`.
 *
 * A container is a tree of TASKS, 64 MiB in the first one, in namespaces of its own: its root is the
 * directory of FILE, a mount point, with MOUNTS mounts in all; whoever started it moves a network device eth0
 * there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PAGE	  4096ul
#define OWN	  (64 << 10) /* bytes that each task of a tree has of its own */
#define FRAGMENTS 5000
#define CHANGED	  20
#define MOUNTS	  20
#define CONTAINED "contained"
#define ZERO	  UINT64_MAX

struct seen {		       /* bench.py knows the offsets */
	volatile uint64_t gap; /* ns */
	volatile uint64_t rounds;
	_Atomic uint32_t asked;
	_Atomic uint32_t answers;
	_Atomic uint32_t wrong;
	volatile uint32_t others; /* how many answer, the first task too; the last word to be set */
};

static struct seen *seen;
static int files; /* that the first task has open */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t value(uint64_t who, size_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15u ^ who;
}

static char *map(size_t size)
{
	char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	return memory;
}

/* What a task has in one mapping: every `step` bytes a page. */
struct own {
	char *memory;
	size_t size, step;
	uint64_t who; /* ZERO: all zeroes */
	int changed;  /* every CHANGED-th page is not as its parent filled it */
	int parts;    /* that many mappings, a page apart, counted by `who` */
};

static int touch(const struct own *o, int only_changed, int write)
{
	size_t number = 0;

	for (size_t at = 0; at < o->size; at += o->step) {
		uint64_t *page = (uint64_t *)(o->memory + at), who = o->who;
		int changed = o->changed && !(number++ % CHANGED);

		if (only_changed && !changed)
			continue;
		who += changed;
		for (size_t i = 0; i < PAGE / 8; i++) {
			uint64_t want = who == ZERO ? 0 : value(who, at / 8 + i);

			if (write)
				page[i] = want;
			else if (page[i] != want)
				return 0;
		}
	}
	return 1;
}

static struct own fill(size_t size, uint64_t who)
{
	struct own o = {map(size), size, PAGE, who, 0, 1};

	touch(&o, 0, 1);
	return o;
}

static struct own part_of(const struct own *o, int i)
{
	struct own part = *o;

	part.memory += i * (o->size + PAGE);
	part.who += i;
	return part;
}

static struct own make_fragments(size_t size)
{
	size_t each = (size / FRAGMENTS) & ~(2 * PAGE - 1);
	struct own o = {map(FRAGMENTS * (each + PAGE)), each, 2 * PAGE, 0, 0, FRAGMENTS};

	for (int i = 0; i < FRAGMENTS; i++) {
		struct own part = part_of(&o, i);

		munmap(part.memory + each, PAGE);
		touch(&part, 0, 1);
	}
	return o;
}

static int right(const struct own *o)
{
	for (int i = 0; i < o->parts; i++) {
		struct own part = part_of(o, i);

		if (!touch(&part, 0, 0))
			return 0;
	}
	return 1;
}

static void answer(const struct own *own)
{
	uint32_t last = 0;

	atomic_fetch_add(&seen->answers, 1);
	for (;;) {
		while (atomic_load(&seen->asked) == last)
			syscall(SYS_futex, &seen->asked, FUTEX_WAIT, last, NULL, NULL, 0);
		last = atomic_load(&seen->asked);
		atomic_fetch_add(right(own) ? &seen->answers : &seen->wrong, 1);
	}
}

static void *thread(void *number)
{
	_Alignas(PAGE) char page[PAGE];
	struct own own = {page, PAGE, PAGE, (uintptr_t)number, 0, 1};

	touch(&own, 0, 1);
	answer(&own);
	return NULL;
}

/* Two children, of which the second has one of its own, and so on. */
static void make_tree(int tasks)
{
	for (int i = 1, kids = 0; i < tasks; i++, kids++) {
		int grandchild = kids % 2 && i + 1 < tasks;
		pid_t pid = fork();

		if (pid < 0)
			_exit(1);
		if (!pid) {
			uint64_t who = i;

			if (grandchild && (pid = fork()) <= 0)
				who = pid ? _exit(1), 0 : i + 1;
			struct own own = fill(OWN, who);

			answer(&own);
		}
		i += grandchild;
	}
}

/* A child with a twentieth of the pages changed. */
static void make_child(struct own own)
{
	pid_t pid = fork();

	if (pid < 0)
		_exit(1);
	if (!pid) {
		own.changed = 1;
		touch(&own, 1, 1);
		answer(&own);
	}
}

static void make_threads(int count)
{
	pthread_t id;

	for (intptr_t i = 0; i < count; i++)
		if (pthread_create(&id, NULL, thread, (void *)i))
			_exit(1);
}

/* FILE-0 and so on, each at a position of its own; and pipes, the one end behind the other. */
static void open_files(const char *name, int count)
{
	char path[4096];
	int fds[2];

	for (int i = 0; i < count / 2; i++) {
		snprintf(path, sizeof(path), "%s-%d", name, i);
		fds[0] = open(path, O_RDWR | O_CREAT, 0600);
		if (fds[0] < 0 || pwrite(fds[0], path, 16, i) != 16 || lseek(fds[0], i, SEEK_SET) != i)
			_exit(1);
	}
	for (int i = 0; i < count / 4; i++)
		if (pipe(fds) || write(fds[1], &i, sizeof(i)) != sizeof(i))
			_exit(1);
}

static int files_right(void)
{
	int first = 3, waiting, count = files;

	for (int i = 0; i < count / 2; i++)
		if (lseek(first + i, 0, SEEK_CUR) != i)
			return 0;
	for (int i = 0; i < count / 4; i++) {
		if (ioctl(first + count / 2 + 2 * i, FIONREAD, &waiting) || waiting != sizeof(i))
			return 0;
		if (read(first + count / 2 + 2 * i, &waiting, sizeof(i)) != sizeof(i) || waiting != i ||
		    write(first + count / 2 + 2 * i + 1, &i, sizeof(i)) != sizeof(i))
			return 0;
	}
	return 1;
}

static void mount_at(const char *source, const char *at, const char *type, unsigned long flags,
		     const char *options)
{
	if (mkdir(at, 0755) && access(at, F_OK))
		_exit(1);
	if (mount(source, at, type, flags, options))
		_exit(1);
}

/* What a container has, and volumes: a tmpfs with a file in it, and what is bound from there. */
static void make_mounts(const char *root)
{
	char at[64];
	int fd, have = 8;

	if (chdir(root) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ||
	    mount(".", ".", NULL, MS_BIND, NULL) || chdir(root) || syscall(SYS_pivot_root, ".", ".") ||
	    umount2(".", MNT_DETACH) || chdir("/") || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		_exit(1);
	mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_at("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k");
	mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		 "newinstance,ptmxmode=0666,mode=0620");
	mount_at("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=65536k");
	mount_at("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV, NULL);
	mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_RDONLY, NULL);
	mount_at("tmpfs", "/run", "tmpfs", MS_NOSUID, "mode=755");
	for (int i = 0; have < MOUNTS; i++, have += 2) {
		snprintf(at, sizeof(at), "/run/volume%d", i);
		mount_at("volume", at, "tmpfs", MS_NODEV, "size=1m");
		snprintf(at, sizeof(at), "/run/volume%d/file", i);
		fd = open(at, O_WRONLY | O_CREAT, 0600);
		if (fd < 0 || write(fd, at, sizeof(at)) != sizeof(at) || close(fd))
			_exit(1);
		snprintf(at, sizeof(at), "/run/volume%d", i);
		char other[64];

		snprintf(other, sizeof(other), "/run/bound%d", i);
		mount_at(at, other, NULL, MS_BIND, NULL);
	}
}

/* Goes on as the first process of new namespaces, with the network device there; the caller ends. */
static void contain(char **argv)
{
	char *file = argv[1];
	char *name = strrchr(file, '/');
	pid_t pid;
	int null;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) ||
	    (pid = fork()) < 0)
		_exit(1);
	if (pid)
		_exit(0);
	setsid();
	*name = 0;
	make_mounts(file);
	if (mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) || (null = open("/dev/null", O_RDWR)) < 0)
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	*name = '/';
	argv[0] = "/" CONTAINED; /* the same, of this root */
	argv[1] = name;
	argv[2] = CONTAINED;
	while (!if_nametoindex("eth0"))
		usleep(1000);
	execv(argv[0], argv);
	_exit(1);
}

static void spin(const struct own *own)
{
	uint32_t asked = atomic_load(&seen->asked);
	uint64_t last = now();

	for (;;) {
		uint64_t t = now();

		if (t - last > seen->gap)
			seen->gap = t - last;
		last = t;
		seen->rounds++;
		if (atomic_load(&seen->asked) != asked) {
			asked = atomic_load(&seen->asked);
			atomic_fetch_add(right(own) && files_right() ? &seen->answers : &seen->wrong, 1);
			last = now();
		}
	}
}

int main(int argc, char **argv)
{
	struct own own = {0};
	int fd, count, others = 0;
	const char *kind;

	if (argc != 4 ||
	    close_range(3, ~0u, 0)) /* what whoever started us has open is none of the workload */
		return 1;
	kind = argv[2];
	count = atoi(argv[3]);
	if (!strcmp(kind, "container"))
		contain(argv);
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seen == MAP_FAILED)
		return 1;
	close(fd);
	if (!strcmp(kind, "tree"))
		make_tree(count), others = count - 1;
	else if (!strcmp(kind, CONTAINED))
		make_tree(count), others = count - 1, own = fill(64 << 20, ZERO - 1);
	else if (!strcmp(kind, "threads"))
		make_threads(count), others = count;
	else if (!strcmp(kind, "fds"))
		open_files(argv[1], files = count);
	else if (!strcmp(kind, "fragments"))
		own = make_fragments((size_t)count << 20);
	else if (count)
		own = fill((size_t)count << 20, strcmp(kind, "zero") ? 0 : ZERO);
	if (!strcmp(kind, "relatives"))
		make_child(own), others = 1;
	while (atomic_load(&seen->answers) < (uint32_t)others)
		usleep(1000);
	seen->others = others + 1;
	spin(&own);
}
