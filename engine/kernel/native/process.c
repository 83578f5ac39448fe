/* Starting and waiting for tasks, futexes, pidfds: what Python's os module lacks or cannot do safely. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "arch.h"
#include "clock.h"
#include "native.h"

#define SPIN_US 100 /* how long to look again before sleeping, where an answer is due any moment */

static int answer(long r)
{
	return r < 0 ? -errno : r;
}

int zd_pidfd_open(int pid, unsigned flags)
{
	return answer(syscall(SYS_pidfd_open, pid, flags));
}

int zd_pidfd_send_signal(int pidfd, int sig)
{
	return answer(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0));
}

/* Between clone3 and exec the child borrows the parent's memory: raw calls only, nothing that may write. */
static void __attribute__((noreturn)) become_seed(int seed_fd, int arena_fd, int parent, int *err)
{
	static char *const nothing[] = {NULL};
	long r;

	arch_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
	if (arch_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0) != parent)
		arch_syscall(SYS_exit_group, 128 + SIGKILL, 0, 0, 0, 0, 0);
	if (arena_fd == SEED_FD)
		r = arch_syscall(SYS_fcntl, arena_fd, 2 /* F_SETFD */, 0, 0, 0, 0);
	else if (seed_fd == SEED_FD)
		r = -EBADF; /* the caller keeps descriptors from SEED_FD on free of the seed's */
	else
		r = arch_syscall(SYS_dup3, arena_fd, SEED_FD, 0, 0, 0, 0);
	if (r >= 0)
		r = arch_syscall(SYS_execveat, seed_fd, (u64) "", (u64)nothing, (u64)nothing,
				 0x1000 /* AT_EMPTY_PATH */, 0);
	*err = r;
	for (;;)
		arch_syscall(SYS_exit_group, 127, 0, 0, 0, 0, 0);
}

/*
 * Start the seed with the arena as SEED_FD and, where pid is not 0, with this very pid (clone3(2) set_tid).
 * All its signals are blocked, and it dies with its parent. flags: CLONE_PARENT or 0. Returns the pid.
 */
int zd_spawn_seed(int seed_fd, int arena_fd, int pid, unsigned long long flags)
{
	u64 all = ~0ull, old;
	pid_t tid = pid;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND | flags,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
		.set_tid = pid ? (uintptr_t)&tid : 0,
		.set_tid_size = pid ? 1 : 0,
	};
	int parent = flags & CLONE_PARENT ? getppid() : getpid();
	volatile int err = 0;
	long r;

	/* the library would leave out its own two, of which a restored timer may already use one */
	arch_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (u64)&all, (u64)&old, sizeof(all), 0, 0);
	r = arch_syscall(SYS_clone3, (u64)&args, sizeof(args), 0, 0, 0, 0);
	if (r == 0)
		become_seed(seed_fd, arena_fd, parent, (int *)&err);
	if (r > 0 && err) {
		if (!(flags & CLONE_PARENT))
			waitpid(r, NULL, 0);
		r = err;
	}
	arch_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (u64)&old, 0, sizeof(old), 0, 0);
	return r;
}

/* SIGCHLD must be blocked for the waits with a timeout to be woken; see zd_wait. */
int zd_block_signals(int block)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return answer(sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL));
}

/* waitpid(pid, status, options) bounded by a timeout (negative: none): the pid, or -ETIMEDOUT. */
int zd_wait(int pid, int options, long long timeout, int *status)
{
	int64_t start = now_us(), end = start + timeout;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		int r = waitpid(pid, status, options | WNOHANG);
		int64_t left = timeout < 0 ? 1000000 : end - now_us();
		struct timespec t;

		if (r)
			return answer(r);
		if (left <= 0)
			return -ETIMEDOUT;
		/* most stops come at once: to sleep and be woken takes longer */
		if (now_us() < start + SPIN_US) {
			sched_yield();
			continue;
		}
		/* a SIGCHLD may have been taken for another child, or merged: look again at least every 10 ms
		 */
		left = left > 10000 ? 10000 : left;
		t = (struct timespec){left / 1000000, left % 1000000 * 1000};
		sigtimedwait(&chld, NULL, &t);
	}
}

static struct robust_list_head keeper_list;
static struct robust_list_head *libc_list;
static size_t libc_size;

/*
 * Put the arena's keeper word on this thread's robust list (set_robust_list(2)): if this thread dies in any
 * way, the kernel sets FUTEX_OWNER_DIED there and wakes whoever is parked on it. glibc's own list is put back
 * by disarm.
 */
int zd_keeper_arm(void *arena, unsigned node, unsigned word)
{
	struct robust_list *entry = (void *)((char *)arena + node);
	unsigned *keeper = (void *)((char *)arena + word);

	if (!libc_list && syscall(SYS_get_robust_list, 0, &libc_list, &libc_size))
		return -errno;
	*keeper = (unsigned)syscall(SYS_gettid) | FUTEX_WAITERS;
	keeper_list.futex_offset = (long)word - (long)node;
	keeper_list.list_op_pending = NULL;
	entry->next = &keeper_list.list;
	keeper_list.list.next = entry;
	return answer(syscall(SYS_set_robust_list, &keeper_list, sizeof(keeper_list)));
}

int zd_keeper_disarm(void)
{
	keeper_list.list.next = &keeper_list.list;
	return answer(syscall(SYS_set_robust_list, libc_list, libc_size));
}

int zd_futex_wait(void *word, unsigned seen, long long timeout)
{
	struct timespec t = {timeout / 1000000, timeout % 1000000 * 1000};
	int64_t end = now_us() + SPIN_US;

	while (now_us() < end) {
		if (__atomic_load_n((unsigned *)word, __ATOMIC_ACQUIRE) != seen)
			return 0;
		sched_yield();
	}
	return answer(syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout < 0 ? NULL : &t, NULL, 0));
}

int zd_futex_wake(void *word)
{
	return answer(syscall(SYS_futex, word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0));
}

int zd_kcmp(int pid1, int pid2, int type, unsigned long idx1, unsigned long idx2)
{
	return answer(syscall(SYS_kcmp, pid1, pid2, type, idx1, idx2));
}

/* The decimal numbers of a procfs text. Returns how many, also where that is more than max. */
static unsigned numbers(const char *text, int *out, unsigned max)
{
	unsigned n = 0;

	for (char *end; *text; text = end) {
		long value = strtol(text, &end, 10);

		if (end == text)
			break;
		if (n < max)
			out[n] = value;
		n++;
	}
	return n;
}

/* One thread's children, appended to kids; a thread that has ended has none. */
static int thread_kids(int task, const char *tid, int *kids, unsigned max_kids, unsigned *nkids)
{
	char path[64], text[4096];
	unsigned done = 0;
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s/children", tid);
	fd = openat(task, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	for (;;) {
		ssize_t n = read(fd, text + done, sizeof(text) - 1 - done);
		char *last;

		if (n < 0) {
			r = errno == ESRCH ? 0 : -errno;
			break;
		}
		done += n;
		text[done] = 0;
		/* a number may continue in the next piece */
		last = n ? strrchr(text, ' ') : text + done;
		if (last) {
			unsigned room = *nkids < max_kids ? max_kids - *nkids : 0;
			char c = *last;

			*last = 0;
			*nkids += numbers(text, kids + *nkids, room);
			*last = c;
			done -= last - text;
			memmove(text, last, done);
		}
		if (!n)
			break;
	}
	close(fd);
	return r;
}

/*
 * The threads of a process, and the children of all of them. Returns the number of threads; that and *nkids
 * may be more than there was room for: then what lies beyond has not been stored.
 */
int zd_task_scan(int pid, int *tids, unsigned max_tids, int *kids, unsigned max_kids, unsigned *nkids)
{
	char path[64];
	struct dirent *entry;
	unsigned n = 0;
	int r = 0;
	DIR *task;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	task = opendir(path);
	if (!task)
		return -errno;
	*nkids = 0;
	while (!r && (entry = readdir(task))) {
		if (entry->d_name[0] == '.')
			continue;
		if (n < max_tids)
			tids[n] = atoi(entry->d_name);
		n++;
		r = thread_kids(dirfd(task), entry->d_name, kids, max_kids, nkids);
	}
	closedir(task);
	return r ? r : (int)n;
}

/*
 * Which of the tasks share a kernel object of this type (kcmp(2)): equal ids for equal objects, numbered from
 * 1 in the order in which they are first met. The order that kcmp defines keeps this to n log n calls.
 */
int zd_kcmp_ids(const int *pids, unsigned count, int type, unsigned *ids)
{
	unsigned *sorted = malloc(count * sizeof(*sorted)), known = 0;
	int r = 0;

	if (!sorted)
		return -ENOMEM;
	for (unsigned i = 0; i < count && r >= 0; i++) {
		unsigned low = 0, high = known;

		ids[i] = 0;
		while (low < high && !ids[i]) {
			unsigned middle = (low + high) / 2;

			r = answer(syscall(SYS_kcmp, pids[i], pids[sorted[middle]], type, 0, 0));
			if (r < 0)
				break;
			if (r == 0)
				ids[i] = ids[sorted[middle]];
			else if (r == 1)
				high = middle;
			else
				low = middle + 1;
		}
		if (r < 0 || ids[i])
			continue;
		memmove(sorted + low + 1, sorted + low, (known - low) * sizeof(*sorted));
		sorted[low] = i;
		ids[i] = ++known;
	}
	free(sorted);
	return r < 0 ? r : (int)known;
}

int zd_securebits(void)
{
	return answer(prctl(PR_GET_SECUREBITS));
}

int zd_tgkill(int pid, int tid, int sig)
{
	return answer(syscall(SYS_tgkill, pid, tid, sig));
}

int zd_prctl(int option, unsigned long value)
{
	return answer(prctl(option, value, 0, 0, 0));
}

int zd_subreaper(int on)
{
	return answer(prctl(PR_SET_CHILD_SUBREAPER, on));
}

int zd_personality(unsigned long persona)
{
	return answer(personality(persona));
}

int zd_sched_getattr(int pid, void *attr, unsigned size)
{
	return answer(syscall(SYS_sched_getattr, pid, attr, size, 0));
}

/* ioprio_get(2) of one thread: its own setting, 0 where it has none. */
int zd_ioprio_get(int tid)
{
	return answer(syscall(SYS_ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, tid));
}

int zd_bpf(int command, void *attr, unsigned size)
{
	return answer(syscall(SYS_bpf, command, attr, size));
}

/* End like that, as wait(2) will tell it; of a core dump nothing is left. */
void zd_end(int status)
{
	const struct rlimit no_core = {0, 0};
	int sig = status & 0x7f;
	sigset_t set;

	if (sig) {
		sigemptyset(&set);
		sigaddset(&set, sig);
		setrlimit(RLIMIT_CORE, &no_core);
		signal(sig, SIG_DFL);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		kill(getpid(), sig);
	}
	_exit(status >> 8 & 0xff);
}
