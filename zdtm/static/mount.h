/* For cases about mounts: what they make of them, and how they look at them. */
#ifndef ZDTM_MOUNT_H
#define ZDTM_MOUNT_H

#include "zdtm.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A new directory with a tmpfs on it, whose source is called like it. */
static inline void new_tmpfs(const char *dir)
{
	SYS(mkdir(dir, 0755));
	SYS(mount(dir, dir, "tmpfs", 0, NULL));
}

static inline void bind_mount(const char *from, const char *to)
{
	SYS(mount(from, to, NULL, MS_BIND, NULL));
}

/* A new directory that is a bind of another one. */
static inline void new_bind(const char *from, const char *to)
{
	SYS(mkdir(to, 0755));
	bind_mount(from, to);
}

/* MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE. */
static inline void propagation(const char *dir, unsigned long how)
{
	SYS(mount(NULL, dir, NULL, how, NULL));
}

/* Flags of one mount alone. */
static inline void mount_flags(const char *dir, unsigned long flags)
{
	SYS(mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | flags, NULL));
}

static inline void write_file(const char *path, const char *text)
{
	int fd = SYS(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));

	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write %s", path);
	SYS(close(fd));
}

static inline void check_file(const char *path, const char *text)
{
	char *now = test_read_file(path, NULL);

	CHECK(!strcmp(now, text), "%s holds '%s' instead of '%s'", path, now, text);
	free(now);
}

static inline void check_absent(const char *path)
{
	struct stat st;

	CHECK(lstat(path, &st) < 0 && errno == ENOENT, "%s is there", path);
}

/* A file made under one name is there under another: the same file system, or none of it. */
static inline void check_same_place(const char *one, const char *other, bool same)
{
	char path[2][256];
	struct stat st;

	snprintf(path[0], sizeof(path[0]), "%s/same-place", one);
	snprintf(path[1], sizeof(path[1]), "%s/same-place", other);
	write_file(path[0], "");
	CHECK((stat(path[1], &st) == 0) == same, "%s and %s are %sthe same place", one, other,
	      same ? "not " : "");
	SYS(unlink(path[0]));
}

/* Nothing can be made there: the mount, or all of the file system, is read-only. */
static inline void check_read_only(const char *dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/refused", dir);
	CHECK(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EROFS,
	      "%s can be written to: %s", path, strerror(errno));
}

static inline bool is_mount_point(const char *path)
{
	struct statx st;

	SYS(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st));
	return st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* Take away what is mounted there; what is below it shows. */
static inline void unmount(const char *path)
{
	CHECK(is_mount_point(path), "nothing is mounted on %s", path);
	CHECK(umount2(path, UMOUNT_NOFOLLOW) == 0, "umount %s: %s", path, strerror(errno));
}

/* A mount appears there as soon as there is one here, and goes with it: peers, or master and slave. */
static inline void check_propagates(const char *from, const char *to, bool does)
{
	char path[2][256];

	snprintf(path[0], sizeof(path[0]), "%s/propagated", from);
	snprintf(path[1], sizeof(path[1]), "%s/propagated", to);
	SYS(mkdir(path[0], 0755));
	SYS(mount("propagated", path[0], "tmpfs", 0, NULL));
	CHECK(is_mount_point(path[1]) == does, "what is mounted in %s %s in %s", from, does ? "is not" : "is",
	      to);
	SYS(umount(path[0]));
	CHECK(!is_mount_point(path[1]), "what is gone from %s is still in %s", from, to);
	SYS(rmdir(path[0]));
}

/*
 * A child in a mount namespace of its own: it makes its part of it, says so, and checks when it is told. Its
 * mounts are copies of the test's, peers where those are shared.
 */
struct mount_child {
	uint32_t *ready, *check;
	pid_t pid;
};

static inline struct mount_child mount_child(void (*make)(void), void (*check)(void))
{
	uint32_t *words = test_shared(2 * sizeof(*words));
	struct mount_child child = {.ready = words, .check = words + 1};

	child.pid = SYS(fork());
	if (child.pid == 0) {
		SYS(unshare(CLONE_NEWNS));
		if (make)
			make();
		test_post(child.ready);
		test_await(child.check, 1);
		if (check)
			check();
		_exit(0);
	}
	test_await(child.ready, 1);
	return child;
}

static inline void mount_child_checks(const struct mount_child *child)
{
	test_post(child->check);
	test_reap(child->pid);
}

#endif
