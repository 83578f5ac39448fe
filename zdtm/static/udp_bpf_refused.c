/*
 * title: a socket with an eBPF filter is refused, and filters afterwards
 * flavours: host
 * flags: suid crfail
 */
#include "bpf.h"
#include "udp.h"

#ifndef SO_ATTACH_BPF
#define SO_ATTACH_BPF 50
#endif

int main(int argc, char **argv)
{
	/* r0 = 8 + 2: what is left of a datagram, with its header; exit */
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 8 + 2},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(*code),
		.license = (uintptr_t)"GPL",
	};
	int fd, program;

	test_init(argc, argv);
	fd = udp_bound(AF_INET, 0, 0);
	program = SYS(bpf(BPF_PROG_LOAD, &attr));
	SYS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof(program)));
	SYS(close(program));
	test_daemon();
	test_waitsig();
	udp_to(fd, "text", fd);
	udp_comes(fd, "te", fd, "who has a filter");
	pass();
}
