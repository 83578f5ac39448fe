/*
 * title: a BPF map whose contents cannot be looked at (a queue) is refused
 * flavours: host
 * flags: suid crfail
 */
#include "bpf.h"

int main(int argc, char **argv)
{
	uint32_t value = 5, got = 0;
	union bpf_attr attr = {.value = (uintptr_t)&got};
	int fd;

	test_init(argc, argv);
	fd = bpf_create(BPF_MAP_TYPE_QUEUE, 0, sizeof(value), 4, 0, "queue");
	SYS(bpf_put(fd, NULL, &value));
	test_daemon();
	test_waitsig();
	attr.map_fd = (unsigned)fd;
	SYS(bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &attr));
	CHECK(got == 5, "the queue has lost what was in it");
	pass();
}
