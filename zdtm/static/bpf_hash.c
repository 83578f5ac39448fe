/*
 * title: a BPF hash table without preallocation on a NUMA node, with every flag, and the entries it had
 * flavours: host ns
 * flags: suid
 */
#include "bpf.h"

enum { ENTRIES = 64, USED = 37 };

static uint32_t number(uint32_t i)
{
	return 0x80000000u + i * 7919;
}

int main(int argc, char **argv)
{
	struct bpf_told before;
	char value[24], got[24];
	uint32_t key, i;
	int fd;

	test_init(argc, argv);
	fd = bpf_create(BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), ENTRIES,
			BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY_PROG, "a_hash");
	for (i = 0; i < USED; i++) {
		key = number(i);
		test_fill(value, sizeof(value), i);
		SYS(bpf_put(fd, &key, value));
	}
	SYS(fcntl(fd, F_SETFL, O_NONBLOCK));
	bpf_tell(fd, &before);
	test_daemon();
	test_waitsig();
	bpf_same(fd, &before, O_RDWR | O_NONBLOCK);
	CHECK(bpf_count(fd) == USED, "%u entries", bpf_count(fd));
	for (i = 0; i < USED; i++) {
		key = number(i);
		SYS(bpf_get(fd, &key, got));
		CHECK(test_differs(got, sizeof(got), i) < 0, "entry %u differs", i);
	}
	for (i = USED; i < ENTRIES; i++) { /* room for as many as before, and no more */
		key = number(i);
		SYS(bpf_put(fd, &key, value));
	}
	key = number(i);
	CHECK(bpf_put(fd, &key, value) == -1 && errno == E2BIG, "one more: %s", strerror(errno));
	pass();
}
