/*
 * title: x87 keeps its words, a stack with gaps, and an exception that is still to be raised
 * flavours: host ns userns
 * arch: x86_64
 */
#include "hold.h"

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf out;
static volatile int code;

static void on_fpe(int sig, siginfo_t *info, void *context)
{
	(void)context;
	code = info->si_code;
	siglongjmp(out, sig);
}

/* Precision double, rounding up. 1/0 is divided while that is masked; unmasked after, it waits for the next
 * instruction that looks. Five registers are filled, the second of them is emptied again. */
static void prepare(struct fxsave *fx)
{
	const uint16_t masked = 0x0a7f, unmasked = 0x0a7f & ~0x0004;

	__asm__ volatile("fninit; fldcw %[masked]\n"
			 "fldpi; fldl2e; fldln2; fldlg2\n"
			 "fldz; fld1; fdivp; fxam\n"
			 "ffree %%st(1)\n"
			 "fldcw %[unmasked]\n"
			 "fxsave64 %[fx]\n"
			 "fninit\n"
			 : [fx] "=m"(*fx)
			 : [masked] "m"(masked), [unmasked] "m"(unmasked)
			 : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
}

/* What a waiting instruction finds with this state: 0, or the signal that it raises. */
static int wait_instruction(const struct fxsave *fx)
{
	int sig = sigsetjmp(out, 1);

	if (!sig)
		__asm__ volatile("fxrstor64 %[fx]; fwait; fninit" : : [fx] "m"(*fx) : "memory");
	return sig;
}

int main(int argc, char **argv)
{
	struct sigaction fpe = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
	static struct held before, after;

	test_init(argc, argv);
	SYS(sigaction(SIGFPE, &fpe, NULL));
	held_init(&before);
	prepare(&before.fx);
	before.fx.mxcsr = 0x1f80 | 0x4000 | 0x0001; /* rounding up; something was invalid */
	CHECK(before.fx.control == 0x0a7b, "the control word is %x", before.fx.control);
	CHECK((before.fx.status & 0x3884) == (3 << 11 | 0x84), "the status word is %x", before.fx.status);
	CHECK(before.fx.tags == 0xe8, "the tags are %x", before.fx.tags);
	hold_through(&before, &after, HOLD_SPINNING);
	CHECK(wait_instruction(&after.fx) == SIGFPE, "the exception is not raised any more");
	CHECK(code == FPE_FLTDIV, "the exception is of code %d", code);
	pass();
}
