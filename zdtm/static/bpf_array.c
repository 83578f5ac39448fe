/*
 * title: a BPF array, frozen, under two numbers: what it says of itself, and all of its entries
 * flavours: host ns
 * flags: suid
 */
#include "bpf.h"

enum { ENTRIES = 10 };

int main(int argc, char **argv)
{
	struct bpf_told before;
	uint64_t value;
	uint32_t key;
	int fd, other;

	test_init(argc, argv);
	fd = bpf_create(BPF_MAP_TYPE_ARRAY, sizeof(key), sizeof(value), ENTRIES, 0, "an.array");
	for (key = 0; key < ENTRIES; key++) {
		value = key ? 0x0101010101010101ULL * key : 0;
		SYS(bpf_put(fd, &key, &value));
	}
	bpf_freeze(fd);
	other = SYS(dup(fd));
	bpf_tell(fd, &before);
	CHECK(strstr(before.fdinfo, "frozen:\t1"), "it is not frozen");
	test_daemon();
	test_waitsig();
	bpf_same(fd, &before, O_RDWR);
	bpf_same(other, &before, O_RDWR);
	CHECK(!SYS(syscall(SYS_kcmp, getpid(), getpid(), 0, fd, other)), "two descriptions");
	for (key = 0; key < ENTRIES; key++) {
		SYS(bpf_get(other, &key, &value));
		CHECK(value == 0x0101010101010101ULL * key, "%u is %#llx", key, (unsigned long long)value);
	}
	key = 3;
	CHECK(bpf_put(fd, &key, &value) == -1 && errno == EPERM, "it is not frozen any more");
	pass();
}
