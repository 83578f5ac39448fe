/*
 * title: one BPF map by three descriptions: all, to read, to write; two tasks see the same one
 * flavours: host ns
 * flags: suid
 */
#include "bpf.h"

#include "child.h"

static int view(int fd, unsigned flags)
{
	struct bpf_map_info info = {.type = 0};
	union bpf_attr attr = {
		.info.bpf_fd = (unsigned)fd, .info.info_len = sizeof(info), .info.info = (uintptr_t)&info};
	union bpf_attr by_id = {.open_flags = flags};

	SYS(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
	by_id.map_id = info.id;
	return SYS(bpf(BPF_MAP_GET_FD_BY_ID, &by_id));
}

int main(int argc, char **argv)
{
	uint32_t key = 5, value = 55, other = 66;
	struct bpf_told before;
	int all, reads, writes;
	pid_t child;

	test_init(argc, argv);
	all = bpf_create(BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), 8, 0, "");
	reads = view(all, BPF_F_RDONLY);
	writes = view(all, BPF_F_WRONLY);
	SYS(bpf_put(writes, &key, &value));
	child = child_fork();
	if (!child) {
		SYS(close(all));
		SYS(close(reads));
		child_wait();
		SYS(bpf_put(writes, &key, &other));
		CHECK(bpf_get(writes, &key, &value) == -1 && errno == EPERM, "it may read");
		_exit(0);
	}
	SYS(close(writes));
	child_await();
	bpf_tell(all, &before);
	test_daemon();
	test_waitsig();
	bpf_same(all, &before, O_RDWR);
	CHECK(SYS(fcntl(reads, F_GETFL)) == O_RDONLY, "it is open with %#o", fcntl(reads, F_GETFL));
	CHECK(bpf_put(reads, &key, &other) == -1 && errno == EPERM, "it may write");
	value = 0;
	SYS(bpf_get(reads, &key, &value));
	CHECK(value == 55, "%u is in it", value);
	child_go();
	test_reap(child);
	SYS(bpf_get(reads, &key, &value));
	CHECK(value == 66, "the child has put %u into it", value);
	SYS(bpf_get(all, &key, &value));
	CHECK(value == 66, "of one map there are two: %u", value);
	pass();
}
