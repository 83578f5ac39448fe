/* For tests of BPF maps: bpf(2), and what the kernel says of a map. */
#ifndef BPF_H
#define BPF_H

#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zdtm.h"

static inline int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static inline int bpf_create(unsigned type, unsigned key, unsigned value, unsigned entries, unsigned flags,
			     const char *name)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = key,
			       .value_size = value,
			       .max_entries = entries,
			       .map_flags = flags};

	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	return SYS(bpf(BPF_MAP_CREATE, &attr));
}

static inline int bpf_put(int fd, const void *key, const void *value)
{
	union bpf_attr attr = {.map_fd = (unsigned)fd, .key = (uintptr_t)key, .value = (uintptr_t)value};

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

static inline int bpf_get(int fd, const void *key, void *value)
{
	union bpf_attr attr = {.map_fd = (unsigned)fd, .key = (uintptr_t)key, .value = (uintptr_t)value};

	return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

static inline int bpf_next(int fd, const void *key, void *next)
{
	union bpf_attr attr = {.map_fd = (unsigned)fd, .key = (uintptr_t)key, .next_key = (uintptr_t)next};

	return bpf(BPF_MAP_GET_NEXT_KEY, &attr);
}

static inline void bpf_freeze(int fd)
{
	union bpf_attr attr = {.map_fd = (unsigned)fd};

	SYS(bpf(BPF_MAP_FREEZE, &attr));
}

/* Entries that are in it, by their keys of 4 bytes. */
static inline unsigned bpf_count(int fd)
{
	uint32_t key, *last = NULL, count = 0;

	while (!bpf_next(fd, last, &key)) {
		last = &key;
		count++;
	}
	CHECK(errno == ENOENT, "BPF_MAP_GET_NEXT_KEY: %s", strerror(errno));
	return count;
}

/* What is said of a map, but for its id. */
struct bpf_told {
	struct bpf_map_info info;
	char fdinfo[1024];
};

static inline void bpf_tell(int fd, struct bpf_told *told)
{
	union bpf_attr attr = {.info.bpf_fd = (unsigned)fd,
			       .info.info_len = sizeof(told->info),
			       .info.info = (uintptr_t)&told->info};
	char path[64], *text, *at;

	memset(told, 0, sizeof(*told));
	SYS(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
	told->info.id = told->info.btf_id = 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = test_read_file(path, NULL);
	at = strstr(text, "map_type:");
	CHECK(at && strlen(at) < sizeof(told->fdinfo), "%d is no map", fd);
	strcpy(told->fdinfo, at);
	free(text);
	at = strstr(told->fdinfo, "map_id:");
	CHECK(at, "no map_id in fdinfo");
	memmove(at, at + strcspn(at, "\n"), strlen(at + strcspn(at, "\n")) + 1);
}

static inline void bpf_same(int fd, const struct bpf_told *before, int flags)
{
	struct bpf_told now;

	bpf_tell(fd, &now);
	CHECK(!memcmp(&now.info, &before->info, sizeof(now.info)),
	      "map '%s' of type %u, %u entries, flags %#x was '%s', %u, %u, %#x", now.info.name,
	      now.info.type, now.info.max_entries, now.info.map_flags, before->info.name, before->info.type,
	      before->info.max_entries, before->info.map_flags);
	CHECK(!strcmp(now.fdinfo, before->fdinfo), "fdinfo was\n%s\nis\n%s", before->fdinfo, now.fdinfo);
	CHECK(SYS(fcntl(fd, F_GETFL)) == flags, "%d has flags %#o", fd, fcntl(fd, F_GETFL));
}

#endif
