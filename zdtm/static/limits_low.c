/*
 * title: soft limits below what a process has already hinder nothing, stay, and keep it from having more
 * flavours: host ns userns
 */
#include "zdtm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HIGH_FD = 1000, VALUE = 4711, SIZE = 16 << 20 };

static const struct {
	__rlimit_resource_t resource;
	rlim_t soft;
} lowered[] = {
	{RLIMIT_NOFILE, 4},  {RLIMIT_DATA, 4096},    {RLIMIT_STACK, 8192},
	{RLIMIT_NPROC, 1},   {RLIMIT_SIGPENDING, 0}, {RLIMIT_FSIZE, 0},
	{RLIMIT_MEMLOCK, 0}, {RLIMIT_CORE, 0},	     {RLIMIT_MSGQUEUE, 1},
};
enum { COUNT = sizeof(lowered) / sizeof(*lowered) };

/* Files are what the limits keep it from: it only says which line found something, and the test tells. */
struct talk {
	uint32_t ready, go;
	int line, error;
};
static struct talk *talk;

#define MUST(condition)                        \
	do {                                   \
		if (!(condition)) {            \
			talk->error = errno;   \
			talk->line = __LINE__; \
			_exit(0);              \
		}                              \
	} while (0)

static void queue(int signal)
{
	siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE, .si_value.sival_int = VALUE};

	SYS(syscall(SYS_rt_sigqueueinfo, getpid(), signal, &info));
}

static void child(void)
{
	struct rlimit before[COUNT], now;
	struct timespec nothing = {0, 0};
	char *memory, *locked;
	siginfo_t info;
	sigset_t set;
	int fd;

	memory = SYS(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	test_fill(memory, SIZE, 1);
	locked = SYS(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	SYS(mlock(locked, 8192));
	fd = SYS(open("file", O_RDWR | O_CREAT, 0600));
	CHECK(write(fd, "contents", 8) == 8, "file: %m");
	SYS(dup2(fd, HIGH_FD));
	SYS(close(fd));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGXFSZ);
	SYS(sigprocmask(SIG_BLOCK, &set, NULL));
	for (int i = 0; i < 3; i++)
		queue(SIGRTMIN);
	for (int i = 0; i < COUNT; i++) {
		SYS(getrlimit(lowered[i].resource, &before[i]));
		before[i].rlim_cur = lowered[i].soft;
		SYS(setrlimit(lowered[i].resource, &before[i]));
	}
	test_post(&talk->ready);
	test_await(&talk->go, 1);
	for (int i = 0; i < COUNT; i++) {
		MUST(!getrlimit(lowered[i].resource, &now));
		MUST(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max);
	}
	/* What it had, it has. */
	MUST(test_differs(memory, SIZE, 1) < 0);
	MUST(lseek(HIGH_FD, 0, SEEK_CUR) == 8);
	MUST(pread(HIGH_FD, memory, 8, 0) == 8 && !memcmp(memory, "contents", 8));
	sigdelset(&set, SIGXFSZ);
	for (int i = 0; i < 3; i++)
		MUST(sigtimedwait(&set, &info, &nothing) == SIGRTMIN && info.si_value.sival_int == VALUE);
	/* More it cannot have. */
	MUST(dup2(HIGH_FD, 4) < 0 && errno == EBADF);
	MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	     errno == ENOMEM);
	MUST(mlock(memory, 4096) < 0 && (errno == ENOMEM || errno == EPERM));
	MUST(write(HIGH_FD, "x", 1) < 0 && errno == EFBIG);
	MUST(fork() < 0 && errno == EAGAIN);
	MUST(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &info) < 0 && errno == EAGAIN);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	test_init(argc, argv);
	talk = test_shared(sizeof(*talk));
	pid = SYS(fork());
	if (!pid)
		child();
	test_await(&talk->ready, 1);
	test_daemon();
	test_waitsig();
	test_post(&talk->go);
	test_reap(pid);
	CHECK(!talk->line, "%s:%d: what it says there is not so: %s", __FILE__, talk->line,
	      strerror(talk->error));
	pass();
}
