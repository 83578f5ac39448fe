/* What /proc/self/fdinfo says of a descriptor, by key; the lines that begin with a word. */
#ifndef ZDTM_FDINFO_H
#define ZDTM_FDINFO_H

#include <stdio.h>
#include <stdlib.h>

#include "zdtm.h"

/* All of it; to be freed. */
static inline char *fdinfo_text(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return test_read_file(path, NULL);
}

/* A number by its key ("ticks:"), in a base; fails where there is no such line. */
static inline unsigned long long fdinfo_number(int fd, const char *key, int base)
{
	char *text = fdinfo_text(fd), *at = strstr(text, key);
	unsigned long long value;

	CHECK(at, "fdinfo of %d has no %s", fd, key);
	value = strtoull(at + strlen(key), NULL, base);
	free(text);
	return value;
}

/* How many lines contain a text. */
static inline int fdinfo_count(int fd, const char *what)
{
	char *text = fdinfo_text(fd), *at = text;
	int n = 0;

	while ((at = strstr(at, what))) {
		n++;
		at++;
	}
	free(text);
	return n;
}

#endif
