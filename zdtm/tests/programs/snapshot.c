/*
 * Tasks with memory enough to be cloned by a live dump. snapshot MODE; says "ready" on stdout.
 *
 *   write    a parent and a child write their pages all the time, one after the other, and the parent sends
 *            bytes to the child; on SIGTERM both check that what they have is of one instant
 *   wait     waits for any child (__WALL), of which there is one; on its end exit status 0, if that was all
 *   threads  the same, by a thread beside others
 *   quiet    has pages that no child would have, and does nothing
 *   fickle   has pages that a child would have, or not, by turns
 *   poor     quiet, of a user who may have no more processes
 *   filtered quiet, under a seccomp filter that kills who starts or waits for processes
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE  4096
#define PAGES 4096

static volatile uint64_t (*memory)[PAGE / 8];
static volatile uint64_t generation = 1;
static volatile size_t at;
static volatile uint64_t tokens;   /* sent by the parent, received by the child */
static volatile sig_atomic_t told; /* of a child's end */
static int channel[2];
static pid_t child;

static void die(const char *what)
{
	dprintf(2, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

static void ready(void)
{
	dprintf(1, "ready\n");
}

static void fill(void)
{
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < PAGES; i++)
		memory[i][i % 512] = i * 0x9e3779b97f4a7c15u;
}

/* Pages before `at` are of this generation, those behind of the last one. */
static int is_of_one_instant(void)
{
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t is = memory[i][0];

		if (is != generation - (i > at) && !(i == at && is == generation - 1)) {
			dprintf(2, "page %zu is of %lu; at page %zu of %lu\n", i, is, at, generation);
			return 0;
		}
	}
	return 1;
}

static void write_page(void)
{
	memory[at][0] = generation;
	if (at + 1 < PAGES) {
		at++;
		return;
	}
	/* not at once: what a signal sees in between is the end of one generation */
	for (size_t i = 0; i < PAGES; i++)
		if (memory[i][0] != generation)
			die("a page has changed by itself");
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	generation++;
	at = 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void end_child(__attribute__((unused)) int sig)
{
	_exit(is_of_one_instant() ? (int)(tokens & 127) : 255);
}

static void end_parent(__attribute__((unused)) int sig)
{
	int status, left;
	pid_t ended;
	uint64_t got;

	kill(child, SIGTERM);
	kill(child, SIGCONT);
	ended = waitpid(-1, &status, __WALL);
	if (ended != child || !WIFEXITED(status) || WEXITSTATUS(status) == 255) {
		dprintf(2, "child %d: pid %d has ended with %#x\n", child, ended, status);
		_exit(1);
	}
	if (ioctl(channel[0], FIONREAD, &left))
		die("FIONREAD");
	got = (tokens - left - WEXITSTATUS(status)) & 127;
	if (got > 2) { /* one may be between here and the pipe, and one between that and the child */
		dprintf(2, "%lu sent, %d in the pipe, %d received\n", tokens, left, WEXITSTATUS(status));
		_exit(1);
	}
	if (waitpid(-1, &status, __WALL) != -1 || errno != ECHILD)
		die("another child");
	_exit(is_of_one_instant() ? 0 : 1);
}

static void write_all(void)
{
	char byte = 0;

	if (pipe(channel))
		die("pipe");
	memory[0][0] = generation;
	for (size_t i = 1; i < PAGES; i++)
		memory[i][0] = generation - 1;
	child = fork();
	signal(SIGTERM, child ? end_parent : end_child);
	if (child)
		ready();
	for (;;) {
		for (int i = 0; i < 50; i++)
			write_page();
		if (child)
			tokens++;
		if ((child ? write(channel[1], &byte, 1) : read(channel[0], &byte, 1)) != 1)
			die("pipe");
		if (!child)
			tokens++;
	}
}

static void on_end(__attribute__((unused)) int sig)
{
	told++;
}

static void *wait_for_all(__attribute__((unused)) void *arg)
{
	int status;
	pid_t got;

	while ((got = waitpid(-1, &status, __WALL)) < 0 && errno == EINTR)
		;
	if (got != child || !WIFSIGNALED(status))
		die("somebody else's end");
	if (waitpid(-1, &status, __WALL) != -1 || errno != ECHILD)
		die("another child");
	while (!told) /* another thread may be about to be told */
		sched_yield();
	if (told != 1)
		die("SIGCHLD");
	_exit(0);
}

static void *spin(void *arg)
{
	for (;;)
		memory[at++ % PAGES][1]++;
	return arg;
}

static void quiet(void)
{
	char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 'x', 64 * PAGE);
	for (int i = 0; i < 64; i++)
		p[i * PAGE] = i;
	if (madvise(p + 8 * PAGE, 8 * PAGE, MADV_DONTFORK) ||
	    madvise(p + 24 * PAGE, 8 * PAGE, MADV_WIPEONFORK) ||
	    mprotect(p + 12 * PAGE, 16 * PAGE, PROT_NONE) || madvise(p + 40 * PAGE, PAGE, MADV_DONTNEED))
		die("madvise");
}

static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	pthread_t thread;

	fill();
	if (!strcmp(mode, "write"))
		write_all();
	if (!strcmp(mode, "wait") || !strcmp(mode, "threads")) {
		signal(SIGCHLD, on_end);
		child = fork();
		if (!child)
			for (;;)
				pause();
		ready();
		if (!strcmp(mode, "wait"))
			wait_for_all(NULL);
		pthread_create(&thread, NULL, wait_for_all, NULL);
		pthread_create(&thread, NULL, spin, NULL);
	}
	if (!strcmp(mode, "fickle")) {
		char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		munmap(p, 64 * PAGE); /* apart from other mappings */
		p = mmap(p, 64 * PAGE, PROT_READ | PROT_EXEC | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
		memset(p, 'x', 64 * PAGE);
		ready();
		for (;;)
			if (madvise(p, 64 * PAGE, MADV_DONTFORK) || madvise(p, 64 * PAGE, MADV_DOFORK))
				die("madvise");
	}
	if (!strcmp(mode, "poor")) {
		struct rlimit none = {0, 0};

		if (setrlimit(RLIMIT_NPROC, &none) || setresgid(47110, 47110, 47110) ||
		    setresuid(47110, 47110, 47110))
			die("setresuid");
	}
	if (!strcmp(mode, "filtered"))
		filter();
	quiet();
	ready();
	for (;;)
		pause();
}
