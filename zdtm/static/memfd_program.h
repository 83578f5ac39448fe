/* For tests of programs in memfds: the test itself, executed from one. */
#include "memfd.h"
#include "program.h"

enum { EXECUTED = 42 };

/* Another program from the memfd; it says so by its status, or first waits for its word of `shared`. */
static pid_t execute(int fd, char *shared)
{
	char *words[] = {"memfd", "executed", shared, NULL};
	pid_t pid = SYS(fork());

	if (!pid) {
		execveat(fd, "", words, words + 3, AT_EMPTY_PATH);
		fail("execveat: %m");
	}
	return pid;
}

static void ended(pid_t pid)
{
	int status;

	SYS(waitpid(pid, &status, 0));
	CHECK(status == EXECUTED << 8, "the status is %#x", status);
}

static _Noreturn void executed(const char *path)
{
	uint32_t *words = path ? program_shared(path, 2 * sizeof(*words)) : NULL;

	program_check_exe("/memfd:program (deleted)");
	if (words) {
		test_post(&words[0]);
		test_await(&words[1], 1);
		program_check_exe("/memfd:program (deleted)");
	}
	_exit(EXECUTED);
}

/* A memfd with the test's own program. */
static int memfd_program(void)
{
	int in = SYS(open("/proc/self/exe", O_RDONLY)), fd = SYS(memfd_create("program", 0));
	unsigned char buffer[65536];
	ssize_t n;

	while ((n = SYS(read(in, buffer, sizeof(buffer)))) > 0)
		CHECK(write(fd, buffer, (size_t)n) == n, "write: %m");
	SYS(close(in));
	return fd;
}
