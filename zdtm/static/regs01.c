/*
 * title: AVX-512 vector and mask registers survive while a task spins
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx512 avx512bw
 */
#include "zdtm.h"

#include <signal.h>

struct registers {
	unsigned char zmm[32][64];
	uint64_t mask[8];
};

_Static_assert(offsetof(struct registers, mask) == 2048, "as in the assembly below");

volatile int regs_stop;

/* Load everything, spin without a system call until regs_stop, and store everything. */
void regs_hold(const struct registers *load, struct registers *store);

/* clang-format off */
__asm__(
	".text\n"
	".globl regs_hold\n"
	".type regs_hold, @function\n"
	"regs_hold:\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	"	vmovdqu64 64*\\n(%rdi), %zmm\\n\n"
	"	.endr\n"
	"	.irp n, 0,1,2,3,4,5,6,7\n"
	"	kmovq 2048+8*\\n(%rdi), %k\\n\n"
	"	.endr\n"
	"1:	cmpl $0, regs_stop(%rip)\n"
	"	je 1b\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
	"	vmovdqu64 %zmm\\n, 64*\\n(%rsi)\n"
	"	.endr\n"
	"	.irp n, 0,1,2,3,4,5,6,7\n"
	"	kmovq %k\\n, 2048+8*\\n(%rsi)\n"
	"	.endr\n"
	"	vzeroupper\n"
	"	ret\n"
	".size regs_hold, . - regs_hold\n");
/* clang-format on */

static void on_term(int sig)
{
	(void)sig;
	regs_stop = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	static struct registers before, after;
	int i;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	test_fill(&before, sizeof(before), 6);
	test_daemon();
	regs_hold(&before, &after);
	for (i = 0; i < 32; i++)
		CHECK(!memcmp(after.zmm[i], before.zmm[i], 64), "zmm%d differs", i);
	for (i = 0; i < 8; i++)
		CHECK(after.mask[i] == before.mask[i], "k%d is %lx instead of %lx", i, after.mask[i],
		      before.mask[i]);
	pass();
}
