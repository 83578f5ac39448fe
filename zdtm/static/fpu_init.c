/*
 * title: registers that a task has never used stay unused, for the CPU too
 * flavours: host ns userns
 * arch: x86_64
 * needs: xgetbv1
 */
#include "zdtm.h"

#include <signal.h>

static volatile int stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/*
 * Put every component into its initial state, as a task that has not begun yet, and spin. XGETBV(1) tells
 * which components the CPU does not take for initial any more: who loads zeroes into them has used them.
 */
static void spin(uint32_t *before, uint32_t *after)
{
	static const unsigned char nothing[16384] __attribute__((aligned(64)));

	__asm__ volatile("mov $-1, %%eax; mov $-1, %%edx\n"
			 "xrstor64 %[nothing]\n"
			 "mov $1, %%ecx; xgetbv\n"
			 "mov %%eax, %[before]\n"
			 "1: cmpl $0, %[stop]\n"
			 "je 1b\n"
			 "mov $1, %%ecx; xgetbv\n"
			 "mov %%eax, %[after]\n"
			 "fninit\n"
			 : [before] "=m"(*before), [after] "=m"(*after)
			 : [nothing] "m"(nothing), [stop] "m"(stop)
			 : "rax", "rcx", "rdx", "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)",
			   "st(5)", "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	const uint32_t mxcsr = 0x1f80;
	uint32_t before, after;

	test_init(argc, argv);
	SYS(sigaction(SIGTERM, &action, NULL));
	test_daemon();
	spin(&before, &after);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	CHECK(!(before & 0xe4), "components %x are in use in spite of XRSTOR", before);
	CHECK(!(after & ~before), "components %x were put to use by somebody else", after & ~before);
	pass();
}
