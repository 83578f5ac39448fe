/*
 * title: general, x87, SSE and AVX registers survive while a task spins
 * flavours: host ns userns
 * arch: x86_64
 * needs: avx
 */
#include "zdtm.h"

#include <signal.h>

struct registers {
	uint64_t general[15]; /* all but rsp */
	uint32_t mxcsr;
	uint16_t control; /* of x87 */
	uint16_t unused;
	double x87[8];
	unsigned char ymm[16][32];
};

_Static_assert(offsetof(struct registers, mxcsr) == 120, "as in the assembly below");
_Static_assert(offsetof(struct registers, control) == 124, "as in the assembly below");
_Static_assert(offsetof(struct registers, x87) == 128, "as in the assembly below");
_Static_assert(offsetof(struct registers, ymm) == 192, "as in the assembly below");

static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
				    "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

volatile int regs_stop;

/* Load everything, spin without a system call until regs_stop, and store everything. */
void regs_hold(const struct registers *load, struct registers *store);

/* clang-format off */
__asm__(
	".macro all_ymm instruction\n"
	"	.set at, 192\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	.ifc \\instruction,load\n"
	"	vmovdqu at(%rdi), %ymm\\n\n"
	"	.else\n"
	"	vmovdqu %ymm\\n, at(%rax)\n"
	"	.endif\n"
	"	.set at, at + 32\n"
	"	.endr\n"
	".endm\n"
	".text\n"
	".globl regs_hold\n"
	".type regs_hold, @function\n"
	"regs_hold:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	push %rsi\n"
	"	sub $16, %rsp\n"
	"	stmxcsr (%rsp)\n	fnstcw 4(%rsp)\n"
	"	fninit\n"
	"	.irp n, 7,6,5,4,3,2,1,0\n	fldl 128+8*\\n(%rdi)\n	.endr\n"
	"	fldcw 124(%rdi)\n	ldmxcsr 120(%rdi)\n"
	"	all_ymm load\n"
	"	mov 0(%rdi), %rax\n	mov 8(%rdi), %rbx\n	mov 16(%rdi), %rcx\n	mov 24(%rdi), %rdx\n"
	"	mov 32(%rdi), %rsi\n	mov 48(%rdi), %rbp\n	mov 56(%rdi), %r8\n	mov 64(%rdi), %r9\n"
	"	mov 72(%rdi), %r10\n	mov 80(%rdi), %r11\n	mov 88(%rdi), %r12\n	mov 96(%rdi), %r13\n"
	"	mov 104(%rdi), %r14\n	mov 112(%rdi), %r15\n	mov 40(%rdi), %rdi\n"
	"1:	cmpl $0, regs_stop(%rip)\n	je 1b\n"
	"	push %rax\n"
	"	mov 24(%rsp), %rax\n"
	"	mov %rbx, 8(%rax)\n	mov %rcx, 16(%rax)\n	mov %rdx, 24(%rax)\n	mov %rsi, 32(%rax)\n"
	"	mov %rdi, 40(%rax)\n	mov %rbp, 48(%rax)\n	mov %r8, 56(%rax)\n	mov %r9, 64(%rax)\n"
	"	mov %r10, 72(%rax)\n	mov %r11, 80(%rax)\n	mov %r12, 88(%rax)\n	mov %r13, 96(%rax)\n"
	"	mov %r14, 104(%rax)\n	mov %r15, 112(%rax)\n	pop %rbx\n	mov %rbx, 0(%rax)\n"
	"	all_ymm store\n"
	"	stmxcsr 120(%rax)\n	fnstcw 124(%rax)\n"
	"	.irp n, 0,1,2,3,4,5,6,7\n	fstpl 128+8*\\n(%rax)\n	.endr\n"
	"	vzeroupper\n"
	"	ldmxcsr (%rsp)\n	fldcw 4(%rsp)\n"
	"	add $16, %rsp\n"
	"	pop %rsi\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
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
	struct registers before, after;
	int i;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	test_fill(&before, sizeof(before), 5);
	before.mxcsr = 0x1f80 | 0x2000 | 0x8000; /* all masked, rounding down, denormals flushed to zero */
	before.control = 0x0a7f;		 /* all masked, double precision, rounding up */
	for (i = 0; i < 8; i++)
		before.x87[i] = 1.0 / (3 + i);
	memset(&after, 0, sizeof(after));
	test_daemon();
	regs_hold(&before, &after);
	for (i = 0; i < 15; i++)
		CHECK(after.general[i] == before.general[i], "%s is %lx instead of %lx", names[i],
		      after.general[i], before.general[i]);
	CHECK(after.mxcsr == before.mxcsr, "mxcsr is %x instead of %x", after.mxcsr, before.mxcsr);
	CHECK(after.control == before.control, "the x87 control word is %x instead of %x", after.control,
	      before.control);
	for (i = 0; i < 8; i++)
		CHECK(!memcmp(&after.x87[i], &before.x87[i], sizeof(double)),
		      "st(%d) is %.17g instead of %.17g", i, after.x87[i], before.x87[i]);
	for (i = 0; i < 16; i++) {
		CHECK(!memcmp(after.ymm[i], before.ymm[i], 16), "xmm%d differs", i);
		CHECK(!memcmp(after.ymm[i] + 16, before.ymm[i] + 16, 16), "the upper half of ymm%d differs",
		      i);
	}
	pass();
}
