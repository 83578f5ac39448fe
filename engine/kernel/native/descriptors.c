/*
 * Descriptors of tasks, many in a call, and by two threads: the kernel takes its time for each. The other one
 * is no thread of Python's, and allocates nothing: whoever forks meanwhile finds no lock that it has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif
#define LINK   64 /* bytes, more than the link of a pipe takes */
#define NO_ROW (-ENOENT)
#define ROOM   (256ul << 10) /* bytes, for the rows of a part */
#define STACK  (64ul << 10)

struct task {			 /* whose descriptors are looked at */
	int pidfd, infos, names; /* names: it runs, and those that links show are to be tried */
	int fds;		 /* of its own where it runs, else of ours */
	dev_t pipes;		 /* the file system of those that pipe(2) makes */
};

/* Who is told of input and output: not of what is open with O_PATH. */
static void ask_owner(int fd, struct zd_owner *o)
{
	struct f_owner_ex ex = {0, 0};
	unsigned ids[2] = {0, 0};
	int sig = fcntl(fd, F_GETSIG);

	if (sig < 0 || fcntl(fd, F_GETOWN_EX, &ex))
		return;
	o->signum = sig;
	if (!ex.pid)
		return;
	o->type = ex.type;
	o->pid = ex.pid;
	if (!fcntl(fd, F_GETOWNER_UIDS, ids)) {
		o->uid = ids[0];
		o->euid = ids[1];
	}
}

/* What the link of a descriptor says, in bytes, or -errno. */
static ssize_t ask_link(char *at, size_t room, const struct zd_fd *row, const struct task *t, int number)
{
	char name[16];
	ssize_t n;

	if (row->dev == t->pipes)
		return snprintf(at, room, "pipe:[%lu]", row->ino);
	snprintf(name, sizeof(name), "%d", number);
	n = readlinkat(t->fds, name, at, room);
	return n < 0 ? -errno : n;
}

static void put_stat(struct zd_fd *row, const struct stat *st, int number)
{
	*row = (struct zd_fd){
		.mode = st->st_mode,
		.ino = st->st_ino,
		.dev = st->st_dev,
		.nlink = st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = st->st_size,
		.atime = st->st_atim.tv_sec * 1000000000ll + st->st_atim.tv_nsec,
		.mtime = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec,
		.ctime = st->st_ctim.tv_sec * 1000000000ll + st->st_ctim.tv_nsec,
		.blksize = st->st_blksize,
		.blocks = st->st_blocks,
		.rdev = st->st_rdev,
		.fd = number,
	};
}

/* That alone; few have one, and these are not opened and closed all the time. */
static void ask_owner_of(struct zd_fd *row, const struct task *t)
{
	int fd = syscall(SYS_pidfd_getfd, t->pidfd, row->fd, 0);

	if (fd >= 0) {
		ask_owner(fd, &row->owner);
		close(fd);
	}
}

/*
 * What names in procfs tell of it, its link at `at`. Of a task that runs nothing is held: with a copy of ours
 * a FIFO would keep what its task has closed, a port stay taken, a program be busy.
 */
static ssize_t ask_names(struct zd_fd *row, const struct task *t, int number, char *at, size_t room)
{
	char name[16];
	struct stat st;

	snprintf(name, sizeof(name), "%d", number);
	if (fstatat(t->fds, name, &st, 0))
		return -errno;
	put_stat(row, &st, number);
	return ask_link(at, room, row, t, number);
}

/*
 * What a copy of it tells, its link at `at`: for that of the task's own the kernel would make an inode.
 * Closing the copy is no close of the task's: fasync entries, locks and dnotify watches belong to others.
 */
static ssize_t ask_copy(struct zd_fd *row, const struct task *t, int number, char *at, size_t room)
{
	int fd = syscall(SYS_pidfd_getfd, t->pidfd, number, 0);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return errno == EBADF ? -ENOENT : -errno;
	if (fstat(fd, &st)) {
		n = -errno;
		close(fd);
		return n;
	}
	put_stat(row, &st, number);
	ask_owner(fd, &row->owner);
	n = ask_link(at, room, row, t, fd);
	close(fd);
	return n;
}

static unsigned long digits(const char **at, const char *end, unsigned base)
{
	unsigned long n = 0;

	for (; *at < end && **at >= '0' && **at < '0' + (char)base; ++*at)
		n = n * base + (unsigned long)(**at - '0');
	return n;
}

/* The number behind the next tab; to the line after it. */
static unsigned long value(const char **at, const char *end, unsigned base)
{
	unsigned long n;
	int minus;

	while (*at < end && *(*at)++ != '\t')
		;
	minus = *at < end && **at == '-';
	*at += minus;
	n = digits(at, end, base);
	*at += *at < end;
	return minus ? -n : n;
}

/* The lines that all kinds of file have: pos, flags, mnt_id, ino. */
static void parse_info(struct zd_fd *row, const char *at)
{
	const char *end = at + row->info;

	row->pos = (long)value(&at, end, 10);
	row->flags = (unsigned)value(&at, end, 8);
	row->mnt_id = (unsigned)value(&at, end, 10);
	value(&at, end, 10);
	row->plain = at == end;
}

/* Does the link, of which there is room for one byte more, lead there as a name, by no symbolic link? */
static int is_named(const struct zd_fd *row, char *link)
{
	struct stat st;

	if (!row->link || link[0] != '/' || !row->nlink)
		return 0;
	link[row->link] = 0;
	return !lstat(link, &st) && st.st_dev == row->dev && st.st_ino == row->ino;
}

/*
 * The row of one descriptor at `at`, with its link and its fdinfo behind; bytes used, 0 for no room, -errno,
 * NO_ROW if it is not open, or for a pipe that `told` says.
 */
static long put_row(char *at, size_t room, const struct task *t, int number, unsigned char *told)
{
	struct zd_fd *row = (struct zd_fd *)at;
	int info;
	char name[16];
	ssize_t n;

	if (room < sizeof(*row) + LINK)
		return 0;
	at += sizeof(*row);
	room -= sizeof(*row);
	n = t->names ? ask_names(row, t, number, at, room) : ask_copy(row, t, number, at, room);
	if (n < 0)
		return n;
	if (t->names && row->dev == t->pipes) {
		*told = ZD_PIPE;
		return NO_ROW;
	}
	snprintf(name, sizeof(name), "%d", number);
	if ((size_t)n == room)
		return 0;
	row->link = n;
	*told = t->names && is_named(row, at) ? ZD_NAMED : 0;
	at += n;
	room -= n;
	info = openat(t->infos, name, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = read(info, at, room); /* it gives all of it at once */
	row->info = n > 0 ? n : 0;
	n = n < 0 ? -errno : 0;
	close(info);
	if (n < 0 || row->info == room)
		return n;
	parse_info(row, at);
	if (t->names && row->flags & O_ASYNC)
		ask_owner_of(row, t);
	row->row = sizeof(*row) + row->link + row->info;
	row->row += -row->row & 7;
	return row->row <= room + sizeof(*row) + row->link ? (long)row->row : 0;
}

static dev_t pipe_device(void)
{
	struct stat st = {.st_dev = 0};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return 0;
	fstat(ends[0], &st);
	close(ends[0]);
	close(ends[1]);
	return st.st_dev;
}

static int grow(struct zd_fds *p)
{
	unsigned long size = p->out ? p->size * 4 : ROOM;
	char *out = p->out ? mremap(p->out, p->size, size, MREMAP_MAYMOVE)
			   : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (out == MAP_FAILED)
		return -errno;
	p->out = out;
	p->size = size;
	return 0;
}

static int put_rows(struct zd_fds *p, const struct task *t)
{
	long r;

	for (unsigned i = 0; i < p->count;) {
		r = p->out ? put_row(p->out + p->used, p->size - p->used, t, p->numbers[i], p->told + i) : 0;
		if (!r) {
			r = grow(p);
			if (r)
				return (int)r;
			continue;
		}
		if (r < 0 && r != NO_ROW)
			return (int)r;
		if (r > 0)
			p->used += r;
		else if (p->told[i] != ZD_PIPE)
			p->told[i] = ZD_GONE;
		i++;
	}
	return 0;
}

static int look(struct zd_fds *p)
{
	struct task t = {.pidfd = p->pidfd, .names = p->names, .pipes = pipe_device()};
	char name[64];
	int r;

	snprintf(name, sizeof(name), "/proc/%d/fdinfo", p->pid);
	t.infos = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.infos < 0)
		return -errno;
	snprintf(name, sizeof(name), "/proc/%d/fd", p->pid);
	t.fds = open(p->names ? name : "/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = t.fds < 0 ? -errno : put_rows(p, &t);
	if (t.fds >= 0)
		close(t.fds);
	close(t.infos);
	return r;
}

/* Whoever takes a number does that part. */
static int look_next(struct zd_look *l)
{
	unsigned i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	struct zd_fds *p = l->parts + i;

	if (i >= l->count) {
		__atomic_store_n(&l->next, l->count, __ATOMIC_RELAXED);
		return 0;
	}
	p->error = -look(p);
	__atomic_store_n(&p->done, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &p->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	return 1;
}

static void *look_on(void *l)
{
	((struct zd_look *)l)->tid = gettid();
	while (look_next(l))
		;
	return NULL;
}

/* The other thread is gone, once there is nothing left for it to do: its process may enter any namespace. */
static void await_thread(struct zd_look *l)
{
	if (!l->started)
		return;
	pthread_join(l->thread, NULL);
	while (!syscall(SYS_tgkill, getpid(), l->tid, 0)) /* joined is not gone yet */
		sched_yield();
	l->started = 0;
}

/*
 * Have another thread look as well, until `zd_look_end`. The caller has its root and working directory to
 * itself then: who shares them may enter no mount namespace (setns(2)).
 */
int zd_look_start(struct zd_look *l)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&l->thread, &attr, look_on, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	l->started = 1;
	if (!unshare(CLONE_FS))
		return 0;
	r = -errno;
	await_thread(l);
	return r;
}

/* A part has been looked at: nothing else is done but to wait for that. */
void zd_look_part(struct zd_look *l, unsigned i)
{
	struct zd_fds *p = l->parts + i;

	while (!__atomic_load_n(&p->done, __ATOMIC_ACQUIRE))
		if (!look_next(l))
			syscall(SYS_futex, &p->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

/* Nobody looks any more: a part that none has begun is left. */
void zd_look_end(struct zd_look *l)
{
	__atomic_store_n(&l->next, l->count, __ATOMIC_RELAXED);
	await_thread(l);
}

void zd_look_drop(struct zd_fds *p)
{
	if (p->out)
		munmap(p->out, p->size);
	p->out = NULL;
}
