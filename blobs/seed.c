/*
 * The seed: the smallest program that can become any other. It maps the arena that it inherits as descriptor
 * SEED_FD where the arena's head says, and enters the executor there; the program drops the seed's own
 * mappings.
 */
#include "abi.h"
#include "arch.h"

#define PROT_RWX	    7
#define MAP_SHARED	    1
#define MAP_FIXED_NOREPLACE 0x100000

void __attribute__((noreturn, used)) zd_seed(void)
{
	struct head h;
	long r = arch_syscall(ARCH_NR_pread64, SEED_FD, (u64)&h, sizeof(h), 0, 0, 0);

	if (r == sizeof(h)) {
		r = arch_syscall(ARCH_NR_mmap, h.addr, h.size, PROT_RWX, MAP_SHARED | MAP_FIXED_NOREPLACE,
				 SEED_FD, 0);
		if ((u64)r == h.addr)
			arch_enter(h.entry, h.prog, h.stack);
	}
	for (;;)
		arch_syscall(ARCH_NR_exit_group, 127, 0, 0, 0, 0, 0);
}

ARCH_SEED_ASM
