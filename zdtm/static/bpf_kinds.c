/*
 * title: BPF maps of one value a CPU, of least recent use, of prefixes; large ones; an empty one
 * flavours: host ns
 * flags: suid
 */
#include "bpf.h"

enum { CPUS = 4096, LARGE = 200000, VALUE = 100 };

static uint64_t values[CPUS];

static const struct {
	unsigned type, flags, used;
} kinds[] = {
	{BPF_MAP_TYPE_PERCPU_ARRAY, 0, 7},	 {BPF_MAP_TYPE_PERCPU_HASH, BPF_F_NO_PREALLOC, 5},
	{BPF_MAP_TYPE_LRU_HASH, 0, 6},		 {BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_F_NO_COMMON_LRU, 3},
	{BPF_MAP_TYPE_HASH, BPF_F_ZERO_SEED, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

static int is_percpu(unsigned type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

int main(int argc, char **argv)
{
	struct {
		uint32_t bits;
		unsigned char address[4];
	} prefix = {12, {10, 16, 0, 0}}, address = {32, {10, 17, 3, 4}};
	struct bpf_told before[KINDS], large_before;
	int fds[KINDS], large, trie, odd, i;
	unsigned char big[VALUE], small[3] = {1, 2, 3};
	uint32_t key, cpu, cpus = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
	uint16_t short_key = 0x1234;

	test_init(argc, argv);
	for (i = 0; i < KINDS; i++) {
		fds[i] = bpf_create(kinds[i].type, 4, 8,
				    kinds[i].type == BPF_MAP_TYPE_PERCPU_ARRAY ? kinds[i].used : 64,
				    kinds[i].flags, "kind");
		for (key = 0; key < kinds[i].used; key++) {
			for (cpu = 0; cpu < CPUS; cpu++)
				values[cpu] = (uint64_t)key << 32 | (cpu + 1);
			SYS(bpf_put(fds[i], &key, values));
		}
		bpf_tell(fds[i], &before[i]);
	}
	large = bpf_create(BPF_MAP_TYPE_ARRAY, 4, VALUE, LARGE, 0, "large");
	for (key = 0; key < LARGE; key += 1000) {
		test_fill(big, VALUE, key);
		SYS(bpf_put(large, &key, big));
	}
	bpf_tell(large, &large_before);
	trie = bpf_create(BPF_MAP_TYPE_LPM_TRIE, sizeof(prefix), 4, 10, BPF_F_NO_PREALLOC, "trie");
	key = 99;
	SYS(bpf_put(trie, &prefix, &key));
	odd = bpf_create(BPF_MAP_TYPE_HASH, 2, 3, 5, 0, "odd");
	SYS(bpf_put(odd, &short_key, small));
	test_daemon();
	test_waitsig();
	for (i = 0; i < KINDS; i++) {
		bpf_same(fds[i], &before[i], O_RDWR);
		CHECK(bpf_count(fds[i]) == kinds[i].used, "kind %d has %u entries", i, bpf_count(fds[i]));
		for (key = 0; key < kinds[i].used; key++) {
			SYS(bpf_get(fds[i], &key, values));
			for (cpu = 0; cpu < (is_percpu(kinds[i].type) ? cpus : 1); cpu++)
				CHECK(values[cpu] == ((uint64_t)key << 32 | (cpu + 1)),
				      "kind %d: %u of CPU %u is %#llx", i, key, cpu,
				      (unsigned long long)values[cpu]);
		}
	}
	bpf_same(large, &large_before, O_RDWR);
	for (key = 0; key < LARGE; key += 500) {
		SYS(bpf_get(large, &key, big));
		CHECK(key % 1000 ? !big[0] && !memcmp(big, big + 1, VALUE - 1)
				 : test_differs(big, VALUE, key) < 0,
		      "entry %u of the large one differs", key);
	}
	key = 0;
	SYS(bpf_get(trie, &address, &key));
	CHECK(key == 99, "the prefix leads to %u", key);
	memset(small, 0, sizeof(small));
	SYS(bpf_get(odd, &short_key, small));
	CHECK(small[0] == 1 && small[1] == 2 && small[2] == 3, "the odd one differs");
	pass();
}
