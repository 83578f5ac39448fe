/* For tests of cgroups: hierarchies of the test's own, mounted for a moment, and where a thread is in them.
 * What they make has the mark "zdtm-cg-" and a random number in its name: zdtm/cgroups.py removes that. */
#ifndef CGROUP_H
#define CGROUP_H

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name with the mark; the same throughout the test for each `what`. */
static inline const char *cg_name(const char *what)
{
	static unsigned number;
	static char names[8][64];
	static int next;
	char *name = names[next++ % 8];

	while (!number)
		CHECK(getrandom(&number, sizeof(number), 0) == sizeof(number), "getrandom");
	snprintf(name, sizeof(names[0]), "zdtm-cg-%08x%s", number, what);
	return name;
}

/* Mount a hierarchy by its options, version 2 for NULL, at a name in the working directory. */
static inline void cg_mount(const char *options, const char *dir)
{
	CHECK(mkdir(dir, 0755) == 0 || errno == EEXIST, "mkdir %s: %m", dir);
	SYS(mount("zdtm", dir, options ? "cgroup" : "cgroup2", 0, options));
}

static inline void cg_umount(const char *dir)
{
	SYS(umount2(dir, MNT_DETACH));
	SYS(rmdir(dir));
}

/* The named hierarchy of the test, at dir/; its name as /proc/PID/cgroup has it. */
static inline const char *cg_named(const char *what, const char *dir)
{
	static char names[4][96];
	static int next;
	char *name = names[next++ % 4], options[128];

	snprintf(name, sizeof(names[0]), "name=%s", cg_name(what));
	snprintf(options, sizeof(options), "none,%s", name);
	cg_mount(options, dir);
	return name;
}

/* Mount a named hierarchy again. */
static inline void cg_again(const char *name, const char *dir)
{
	char options[128];

	snprintf(options, sizeof(options), "none,%s", name);
	cg_mount(options, dir);
}

static inline void __attribute__((format(printf, 2, 3))) cg_write(const char *value, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list args;
	int fd;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value), "write '%s' to %s: %m",
	      value, path);
	SYS(close(fd));
}

/* Bring the calling process to a cgroup below dir/. */
static inline void cg_enter(const char *cgroup)
{
	cg_write("0", "%s/cgroup.procs", cgroup);
}

static inline void cg_mkdir(const char *cgroup)
{
	SYS(mkdir(cgroup, 0755));
}

/* What a file of a cgroup says, without the newline at its end. */
static inline char *cg_read(const char *cgroup, const char *file)
{
	char path[PATH_MAX], *text;
	size_t length;

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	text = test_read_file(path, &length);
	while (length && text[length - 1] == '\n')
		text[--length] = 0;
	return text;
}

static inline void cg_says(const char *cgroup, const char *file, const char *wanted)
{
	char *text = cg_read(cgroup, file);

	CHECK(!strcmp(text, wanted), "%s/%s says '%s', not '%s'", cgroup, file, text, wanted);
	free(text);
}

/* Where the calling thread is in a hierarchy, by its controllers; "" for version 2. */
static inline char *cg_where(const char *name)
{
	char *text = test_read_file("/proc/thread-self/cgroup", NULL), *line, *rest = text, *path = NULL;

	while ((line = strsep(&rest, "\n"))) {
		char *colon = strchr(line, ':'), *second = colon ? strchr(colon + 1, ':') : NULL;

		if (second && (size_t)(second - colon - 1) == strlen(name) &&
		    !strncmp(colon + 1, name, strlen(name)))
			path = strdup(second + 1);
	}
	free(text);
	CHECK(path, "there is no hierarchy '%s'", name);
	return path;
}

static inline void cg_is_at(const char *name, const char *wanted)
{
	char *path = cg_where(name);

	CHECK(!strcmp(path, wanted), "%s: at %s, not at %s", name, path, wanted);
	free(path);
}

/* A child, which is there, and still is when it may go on: `words` are for its coming and for that. */
static inline void cg_stay(const char *name, const char *path, uint32_t *words)
{
	cg_is_at(name, path);
	test_post(words);
	test_await(words + 1, 1);
	cg_is_at(name, path);
	_exit(0);
}

#endif
