/*
 * For tests of registers: one call that loads all of them, waits, and stores all of them. Between the load
 * and the store no compiler and no library has a say.
 *
 * x87 and SSE state is the FXSAVE area as it is (Intel SDM volume 1, 10.5.1): control and status words, the
 * stack with what its empty registers hold, the addresses of the last instruction, mxcsr.
 */
#ifndef ZDTM_HOLD_H
#define ZDTM_HOLD_H

#include <signal.h>

#include "zdtm.h"

#ifndef __x86_64__
#error "the registers of this architecture are missing"
#endif

struct fxsave {
	uint16_t control, status;
	uint8_t tags, reserved; /* a bit for each register that is not empty */
	uint16_t opcode;
	uint64_t instruction, operand; /* addresses */
	uint32_t mxcsr, mxcsr_mask;
	unsigned char st[8][16]; /* from the top of the stack on; the last six bytes of each are not used */
	unsigned char xmm[16][16];
	unsigned char unused[96];
} __attribute__((aligned(16)));

struct held {
	struct fxsave fx;
	unsigned char high[16][16]; /* upper halves of ymm0-15, where hold() is told to */
};

_Static_assert(sizeof(struct fxsave) == 512, "as in the assembly below");
_Static_assert(offsetof(struct fxsave, mxcsr) == 24, "as the CPU has it");

enum {
	HOLD_ASLEEP = 0,   /* in futex(2), until the word is not 0 */
	HOLD_SPINNING = 1, /* without system calls */
	HOLD_AVX = 2,	   /* the upper halves too */
};

void hold(const struct held *load, struct held *store, uint32_t *word, int how);

/* clang-format off */
__asm__(
	".text\n"
	".type hold, @function\n"
	"hold:\n"
	"	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	sub $24, %rsp\n"
	"	fnstcw (%rsp)\n	stmxcsr 4(%rsp)\n"
	"	mov %rsi, %rbx\n	mov %rdx, %r12\n	mov %ecx, %r13d\n"
	"	fxrstor64 (%rdi)\n"
	"	test $2, %r13d\n	jz 1f\n"
	"	.set at, 512\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vinsertf128 $1, at(%rdi), %ymm\\n, %ymm\\n\n"
	"	.set at, at + 16\n"
	"	.endr\n"
	"1:	test $1, %r13d\n	jz 3f\n"
	"2:	cmpl $0, (%r12)\n	je 2b\n	jmp 4f\n"
	"3:	cmpl $0, (%r12)\n	jne 4f\n"
	"	mov $202, %eax\n	mov %r12, %rdi\n	xor %esi, %esi\n	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n	syscall\n	jmp 3b\n"
	"4:	fxsave64 (%rbx)\n"
	"	test $2, %r13d\n	jz 5f\n"
	"	.set at, 512\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vextractf128 $1, %ymm\\n, at(%rbx)\n"
	"	.set at, at + 16\n"
	"	.endr\n"
	"	vzeroupper\n"
	"5:	fninit\n	fldcw (%rsp)\n	ldmxcsr 4(%rsp)\n"
	"	add $24, %rsp\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	ret\n"
	".size hold, . - hold\n");
/* clang-format on */

/* What nothing has been put into yet: as fninit and a new process leave it. */
static inline void held_init(struct held *held)
{
	memset(held, 0, sizeof(*held));
	held->fx.control = 0x37f;
	held->fx.mxcsr = 0x1f80;
}

/* The first difference of two states, or NULL; `how` as for hold(). */
static inline const char *held_differs(const struct held *a, const struct held *b, int how)
{
	static _Thread_local char what[40];
	const char *kind = NULL;
	int i = 0;

	if (a->fx.control != b->fx.control)
		return "the x87 control word";
	if (a->fx.status != b->fx.status)
		return "the x87 status word";
	if (a->fx.tags != b->fx.tags)
		return "the x87 tag word";
	if (a->fx.mxcsr != b->fx.mxcsr)
		return "mxcsr";
	/* with no unmasked exception pending, not every CPU keeps where it came from */
	if (a->fx.status & 0x80 && (a->fx.instruction != b->fx.instruction ||
				    a->fx.operand != b->fx.operand || a->fx.opcode != b->fx.opcode))
		return "the instruction of the x87 exception";
	for (i = 0; i < 16 && !kind; i++) {
		if (i < 8 && memcmp(a->fx.st[i], b->fx.st[i], 10))
			kind = "st";
		else if (memcmp(a->fx.xmm[i], b->fx.xmm[i], 16))
			kind = "xmm";
		else if (how & HOLD_AVX && memcmp(a->high[i], b->high[i], 16))
			kind = "the upper half of ymm";
	}
	if (!kind)
		return NULL;
	strcpy(what, kind);
	what[strlen(what) + 1] = 0;
	if (i > 10)
		strcat(what, "1");
	what[strlen(what) + 1] = 0;
	what[strlen(what)] = (char)('0' + (i - 1) % 10);
	return what;
}

static uint32_t hold_term;

static void hold_on_term(int sig)
{
	(void)sig;
	hold_term = 1;
}

/* Hold this through a checkpoint, until the test has to end, and find it as it was. */
static inline void hold_through(const struct held *before, struct held *after, int how)
{
	struct sigaction action = {.sa_handler = hold_on_term};
	const char *what;

	SYS(sigaction(SIGTERM, &action, NULL));
	test_daemon();
	hold(before, after, &hold_term, how);
	what = held_differs(before, after, how);
	CHECK(!what, "%s is not what it was", what);
}

#endif
