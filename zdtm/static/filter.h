/* For tests of seccomp filters. Everything that a filter does not name is allowed. */
#ifndef ZDTM_FILTER_H
#define ZDTM_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zdtm.h"

#define FILTER_ERRNO(number) (SECCOMP_RET_ERRNO | (number))

/* The five instructions of a filter: one system call ends as `action` says. */
#define FILTER(denied, action)                                                         \
	{                                                                              \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (denied), 0, 1),                   \
		BPF_STMT(BPF_RET | BPF_K, (action)),                                   \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                          \
	}

/* seccomp(2) with one more filter; the result is the system call's. */
static inline long filter_try(uint32_t nr, uint32_t action, unsigned int flags)
{
	struct sock_filter code[] = FILTER(nr, action);
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static inline void filter_add(uint32_t nr, uint32_t action, unsigned int flags)
{
	long result = filter_try(nr, action, flags);

	CHECK(!result, "seccomp: %ld: %s", result, strerror(errno));
}

/* A system call that takes no arguments, or is denied before it looks at them, has to fail so; 0: to work. */
static inline void filter_expect(long nr, int error)
{
	long result = syscall(nr, 0, 0, 0, 0, 0, 0);

	CHECK(error ? result == -1 && errno == error : result >= 0,
	      "system call %ld: %ld, %s; wanted errno %d", nr, result, strerror(errno), error);
}

/* A number of /proc/PID/task/TID/status (0: the caller). */
static inline long filter_status(pid_t pid, pid_t tid, const char *key)
{
	char path[64], *text, *line, pattern[64];
	long value;

	snprintf(path, sizeof(path), pid ? "/proc/%d/task/%d/status" : "/proc/thread-self/status", pid, tid);
	snprintf(pattern, sizeof(pattern), "\n%s:", key);
	text = test_read_file(path, NULL);
	line = strstr(text, pattern);
	CHECK(line && sscanf(line + strlen(pattern), "%ld", &value) == 1, "%s has no %s", path, key);
	return value;
}

/* The caller's mode, and how many filters it has. */
static inline void filter_expect_mode(int mode, long count)
{
	long found;

	CHECK(SYS(prctl(PR_GET_SECCOMP, 0, 0, 0, 0)) == mode, "the seccomp mode is not %d", mode);
	found = filter_status(0, 0, "Seccomp_filters");
	CHECK(found == count, "%ld filters, expected %ld", found, count);
}

/* The child has to have been killed by this signal. */
static inline void filter_reap_killed(pid_t child, int sig)
{
	int status;

	CHECK(SYS(waitpid(child, &status, 0)) == child, "another child than %d ended", child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == sig,
	      "child %d has wait status %#x, expected signal %d", child, status, sig);
}

#endif
