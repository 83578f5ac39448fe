/* The half of the harness that runs inside a test program. */
#include "zdtm.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The harness's own files, below the directory that the test starts in. */
#define OWN_DIR "/.zdtm/"

static char scratch[PATH_MAX];
static volatile sig_atomic_t signalled;

/* Any thread may get it; it is the first one that waits for it. */
static void on_signal(int sig)
{
	int saved = errno;

	signalled = 1;
	if (gettid() != getpid())
		syscall(SYS_tgkill, getpid(), getpid(), sig);
	errno = saved;
}

static void own_path(char *path, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s" OWN_DIR "%s", scratch, name);

	if (n < 0 || n >= PATH_MAX)
		_exit(3);
}

/* One write a file: the harness may look at any moment. */
static int put_line(const char *name, const char *line)
{
	char path[PATH_MAX];
	size_t length = strlen(line);
	int fd, saved = errno;

	own_path(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, line, length) != (ssize_t)length || close(fd) < 0) {
		dprintf(STDERR_FILENO, "cannot write %s: %s\n", path, strerror(errno));
		return -1;
	}
	errno = saved;
	return 0;
}

static _Noreturn void verdict(const char *word, int status, const char *fmt, va_list args)
{
	char why[1024], line[1200], *c;

	vsnprintf(why, sizeof(why), fmt, args);
	for (c = why; *c; c++)
		if (*c == '\n')
			*c = ' ';
	snprintf(line, sizeof(line), "%s%s%s\n", word, *why ? ": " : "", why);
	dprintf(STDERR_FILENO, "%s", line);
	if (put_line("verdict", line) < 0)
		status = 3;
	_exit(status);
}

static _Noreturn void pass_verdict(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	verdict("PASS", 0, fmt, args);
}

void pass(void)
{
	pass_verdict("%s", "");
}

void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	verdict("FAIL", 1, fmt, args);
}

void skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	verdict("SKIP", 0, fmt, args);
}

void test_msg(const char *fmt, ...)
{
	va_list args;
	int saved = errno;

	va_start(args, fmt);
	vdprintf(STDERR_FILENO, fmt, args);
	va_end(args);
	errno = saved;
}

void test_init(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	char line[32];

	(void)argc;
	(void)argv;
	SYS(getcwd(scratch, sizeof(scratch)) ? 0 : -1);
	/* Whatever the harness or its own parents have left open is none of the test's state. */
	SYS(close_range(3, ~0U, 0));
	if (getsid(0) != getpid())
		SYS(setsid());
	SYS(sigaction(SIGTERM, &action, NULL));
	snprintf(line, sizeof(line), "%d\n", getpid());
	if (put_line("pid", line) < 0)
		_exit(3);
}

void test_daemon(void)
{
	if (put_line("ready", "ready\n") < 0)
		_exit(3);
}

void test_outside(void)
{
	char path[PATH_MAX], byte;
	int fd;

	if (put_line("outside", "outside\n") < 0)
		_exit(3);
	/* A FIFO: it can be opened when the harness has done so. */
	own_path(path, "done");
	fd = SYS(open(path, O_RDONLY | O_CLOEXEC));
	CHECK(SYS(read(fd, &byte, 1)) == 0, "the harness has something to say");
	SYS(close(fd));
}

bool test_go(void)
{
	return !signalled;
}

void test_waitsig(void)
{
	sigset_t with_term, before, while_waiting;

	/* Blocked between the look at the flag and the sleep, or a signal in between would be slept through.
	 */
	sigemptyset(&with_term);
	sigaddset(&with_term, SIGTERM);
	SYS(sigprocmask(SIG_BLOCK, &with_term, &before));
	while_waiting = before;
	sigdelset(&while_waiting, SIGTERM);
	while (!signalled)
		sigsuspend(&while_waiting);
	SYS(sigprocmask(SIG_SETMASK, &before, NULL));
}

const char *test_path(const char *name)
{
	static char paths[8][PATH_MAX];
	static unsigned int next;
	char *path = paths[next++ % 8];

	CHECK(snprintf(path, PATH_MAX, "%s/%s", scratch, name) < PATH_MAX, "path of %s is too long", name);
	return path;
}

static uint32_t next_random(uint32_t x)
{
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

void test_fill(void *memory, size_t length, uint32_t seed)
{
	unsigned char *bytes = memory;
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < length; i++) {
		x = next_random(x);
		bytes[i] = (unsigned char)(x >> 16);
	}
}

long test_differs(const void *memory, size_t length, uint32_t seed)
{
	const unsigned char *bytes = memory;
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < length; i++) {
		x = next_random(x);
		if (bytes[i] != (unsigned char)(x >> 16))
			return (long)i;
	}
	return -1;
}

void *test_shared(size_t size)
{
	static unsigned int number;
	char name[32];
	void *memory;
	int fd;

	snprintf(name, sizeof(name), "shared-%u", number++);
	fd = SYS(open(test_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
	SYS(ftruncate(fd, size));
	memory = SYS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	SYS(close(fd));
	return memory;
}

void test_post(uint32_t *word)
{
	__atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
	SYS(syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
}

void test_await(uint32_t *word, uint32_t least)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_SEQ_CST)) < least)
		if (syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0) && errno != EAGAIN &&
		    errno != EINTR)
			fail("futex: %s", strerror(errno));
}

void test_reap(pid_t child)
{
	int status;

	CHECK(SYS(waitpid(child, &status, 0)) == child, "another child than %d ended", child);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "child %d ended with wait status %#x", child,
	      status);
}

long test_now_ms(void)
{
	struct timespec now;

	SYS(clock_gettime(CLOCK_MONOTONIC, &now));
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *test_read_file(const char *path, size_t *length)
{
	size_t size = 4096, used = 0;
	char *text = malloc(size);
	ssize_t n;
	int fd = SYS(open(path, O_RDONLY | O_CLOEXEC));

	CHECK(text, "out of memory");
	while ((n = SYS(read(fd, text + used, size - used - 1))) > 0) {
		used += (size_t)n;
		if (size - used < 2) {
			size *= 2;
			text = realloc(text, size);
			CHECK(text, "out of memory");
		}
	}
	SYS(close(fd));
	text[used] = 0;
	if (length)
		*length = used;
	return text;
}
