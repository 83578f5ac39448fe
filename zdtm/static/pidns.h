/* Processes in pid namespaces below the test's. */
#ifndef ZDTM_PIDNS_H
#define ZDTM_PIDNS_H

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

/* fork(2) with flags of clone(2). */
static inline pid_t pidns_fork(unsigned long flags)
{
	return (pid_t)SYS(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

/* What a process calls itself and others; to be compared as bytes. */
struct pidns_self {
	pid_t pid, ppid, sid, pgid;
};

static inline struct pidns_self pidns_self(void)
{
	struct pidns_self now = {getpid(), getppid(), getsid(0), getpgid(0)};

	return now;
}

/* A task notes what it is called, says in `ready` that it is there, and all of it is the same afterwards. */
static inline void pidns_arrive(int who, uint32_t *ready)
{
	struct pidns_self before = pidns_self(), now;

	test_post(ready);
	child_await_go();
	now = pidns_self();
	CHECK(!memcmp(&now, &before, sizeof(now)), "task %d: pid %d ppid %d sid %d pgid %d, were %d %d %d %d",
	      who, now.pid, now.ppid, now.sid, now.pgid, before.pid, before.ppid, before.sid, before.pgid);
}

/* What a process is called in all namespaces, as the test's procfs shows it; its session and group, too. */
struct pidns_names {
	char pid[96], sid[96], pgid[96];
};

static inline void pidns_line(const char *text, const char *key, char *out, size_t size)
{
	const char *line = strstr(text, key);
	size_t length;

	CHECK(line, "no %s in status", key);
	length = strcspn(line, "\n");
	CHECK(length < size, "a long line: %.*s", (int)length, line);
	memcpy(out, line, length);
	out[length] = 0;
}

static inline void pidns_look(pid_t pid, struct pidns_names *names)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = test_read_file(path, NULL);
	pidns_line(text, "NSpid:", names->pid, sizeof(names->pid));
	pidns_line(text, "NSsid:", names->sid, sizeof(names->sid));
	pidns_line(text, "NSpgid:", names->pgid, sizeof(names->pgid));
	free(text);
}

static inline void pidns_same(pid_t pid, const struct pidns_names *before)
{
	struct pidns_names now;

	pidns_look(pid, &now);
	CHECK(!strcmp(now.pid, before->pid), "pid %d: %s, was %s", pid, now.pid, before->pid);
	CHECK(!strcmp(now.sid, before->sid), "pid %d: %s, was %s", pid, now.sid, before->sid);
	CHECK(!strcmp(now.pgid, before->pgid), "pid %d: %s, was %s", pid, now.pgid, before->pgid);
}

#endif
